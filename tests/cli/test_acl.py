"""The users of `peakshaver acl`: enough for their work, and no more."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from pyclient.cli.acl import _COMMANDS, ROLES, rules
from pyclient.demo.http import request
from tests.cli.support import ROOT, run, run_json
from tests.demo.support import Running
from tests.servers import Server, free_ports, until

PASSWORD = "correct horse"
Login = Callable[[str], str]


@pytest.fixture
def login(server: Server) -> Iterator[Login]:
    """Makes the user of a role; its address."""
    client = server.client()
    client.execute_command("ACL", "LOG", "RESET")
    made = []

    def make(role: str) -> str:
        given = rules(role, "peak")
        client.execute_command("ACL", "SETUSER", f"peak-{role}", *given, f">{PASSWORD}")
        made.append(f"peak-{role}")
        return server.address.replace("unix://", f"unix://peak-{role}:correct%20horse@")

    yield make
    for user in made:
        client.execute_command("ACL", "DELUSER", user)


def denied(server: Server) -> list[tuple[str, str]]:
    """What was asked for and refused: user and object."""
    log = server.client().acl_log()
    return [(str(entry["username"]), str(entry["object"])) for entry in log]


def test_every_command_of_the_scripts_is_known() -> None:
    """A command that a script begins to use has to be known here, or its role could not run it."""
    words = set()
    for path in (ROOT / "lua").rglob("*.lua"):
        words |= set(re.findall(r"redis\.p?call\(\s*'([A-Z]+)'", path.read_text()))
    assert words
    assert words <= _COMMANDS


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_line_is_what_redis_takes(role: str, server: Server) -> None:
    said = run_json("acl", role, "--json")
    client = server.client()
    assert client.execute_command(*said["command"]) in (b"OK", "OK", True)
    client.execute_command("ACL", "DELUSER", said["user"])
    done = run("acl", role, "--user", "me", "--prefix", "mine")
    assert done.stdout.startswith("ACL SETUSER me reset on resetchannels >PASSWORD ")
    assert "+@all" not in done.stdout
    assert "allkeys" not in done.stdout


def test_a_password_is_read_and_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    done = run("acl", "worker", "--password-stdin")
    assert PASSWORD not in done.stdout + done.stderr
    assert re.search(r" #[0-9a-f]{64} ", done.stdout)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_may_do_nothing_else(role: str, server: Server, login: Login) -> None:
    client = redis.Redis.from_url(login(role))
    for words in (
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("CONFIG", "GET", "requirepass"),
        ("EVAL", "return 1", "0"),
        ("ACL", "LIST"),
        ("SET", "other:{q}:x", "1"),
        ("GET", "other:{q}:x"),
        ("SHUTDOWN",),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*words)
    client.close()


def test_the_loader_loads_and_the_operator_operates(server: Server, login: Login) -> None:
    assert run("scripts", "load", "--url", login("loader")).returncode == 0
    operator = login("operator")
    for words in (
        ("queue", "set", "orders", "limit=4"),
        ("queue", "pause", "orders"),
        ("queue", "resume", "orders"),
        ("queue", "ls"),
        ("queue", "show", "orders"),
        ("dead", "ls", "--queue", "orders"),
        ("dead", "revive", "--all", "--queue", "orders"),
        ("doctor", "--queue", "orders"),
    ):
        done = run(*words, "--url", operator)
        assert done.returncode == 0, (words, done)
    assert denied(server) == []


@pytest.mark.leaves_keys
@pytest.mark.parametrize("mode", ["worker", "hold"])
def test_gateway_and_worker_serve_under_their_users(
    mode: str, server: Server, login: Login, tmp_path: Path
) -> None:
    api_port, port = free_ports(2)
    target = f"http://127.0.0.1:{api_port}"
    env = {"FAST_PRIORITY_TARGET_BASE_URL": target, "PEAK_MODE": mode, "PEAK_CONCURRENCY": "2"}
    env |= {"FAST_PRIORITY_PORT": str(port), "FAST_PRIORITY_HOST": "127.0.0.1"}
    commands = {
        "api": ["pyclient.demo.backend", "--port", str(api_port), "--work", "0.01"],
        "gateway": ["gateway_app"],
        "worker": ["worker_app", "-p", "1"],
    }
    parts = []
    try:
        for name, words in commands.items():
            (tmp_path / name).mkdir()
            user = {} if name == "api" else {"PEAK_REDIS_URL": login(name)}
            command = [sys.executable, "-m", *words]
            parts.append(Running(command, tmp_path / name, **({} if not user else env), **user))
        until(lambda: ask(f"http://127.0.0.1:{port}/gateway_ready") == 200, timeout=30)
        # Also while the queue is long, and with scripts that have to be loaded again.
        server.client().script_flush()
        assert asyncio.run(many(f"http://127.0.0.1:{port}/x", 40)) == [200] * 40
    finally:
        for part in reversed(parts):
            part.process.terminate()
            part.wait()
            part.end()
    assert denied(server) == []


def ask(url: str) -> int:
    return asyncio.run(request(url))[0]


async def many(url: str, count: int) -> list[int]:
    answers = await asyncio.gather(*(request(url) for _ in range(count)))
    return [status for status, _ in answers]
