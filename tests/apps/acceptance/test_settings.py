"""B41, B42, B46: the command of fast-priority, wrong settings, and `.env`."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli.support import environment
from tests.servers import Server, free_ports, until

from .rawclient import ask
from .rawtarget import Seen, Wire, answer
from .rig import PROBE, Site, site

COMMAND = "pyclient.cli.fast_priority"
BASE = "FAST_PRIORITY_TARGET_BASE_URL"


def refused(folder: Path, **env: str) -> str:
    """What a process says that ends at once with 1: one line."""
    done = subprocess.run(
        [sys.executable, "-m", COMMAND],
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 1, done
    said = done.stdout + done.stderr
    assert said.count("\n") == 1, said
    return said


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("FAST_PRIORITY_WORKERS", "0"),
        ("FAST_PRIORITY_WORKERS", "-1"),
        ("FAST_PRIORITY_WORKERS", "two"),
        ("FAST_PRIORITY_WORKERS", "1e1"),
        ("FAST_PRIORITY_WORKER", "1.5"),
    ],
)
def test_b41_a_wrong_number_of_workers_is_said_in_one_line(
    tmp_path: Path, name: str, count: str
) -> None:
    said = refused(tmp_path, **{name: count})
    assert name in said
    assert count in said


@pytest.mark.parametrize(
    ("name", "count"), [("FAST_PRIORITY_WORKERS", 3), ("FAST_PRIORITY_WORKER", 1)]
)
def test_b41_so_many_workers_run_one_request_each(redis: Server, name: str, count: int) -> None:
    with site(redis) as here:
        worker = here.start(COMMAND, **{name: str(count)})
        here.gateway()
        here.probe()
        until(lambda: len(worker.children()) == count, what=f"{count} processes")
        most = _most_at_once(here, 8)
        assert most == count
        worker.terminate()
        assert worker.wait(10) == 0


def _most_at_once(here: Site, requests: int) -> int:
    """How many of so many requests are at the target at one time."""
    lock = threading.Lock()
    now = most = 0

    def script(seen: Seen, wire: Wire) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.15)
        with lock:
            now -= 1
        wire.send(answer(b"x"))

    here.target.default = script
    calls = [here.later(b"GET", b"/n") for _ in range(requests)]
    assert {call.result().status for call in calls} == {200}
    return most


def test_b41_without_workers_it_is_the_gateway(redis: Server) -> None:
    port = free_ports(1)[0]
    with site(redis, FAST_PRIORITY_HOST="127.0.0.1", FAST_PRIORITY_PORT=str(port)) as here:
        gateway = here.start(COMMAND)
        here.port = port
        until(lambda: ask(port, b"GET", b"/gateway_health").status == 200, what="the gateway")
        gateway.terminate()
        assert gateway.wait(10) == 0


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, [BASE]),
        ({BASE: "localhost:8000"}, [BASE, "http"]),
        ({BASE: "ftp://target"}, [BASE, "http"]),
        ({BASE: "http://user:s3cr3t@target"}, [BASE]),
        ({"FAST_PRIORITY_HIGH_PRIO_PATHS": "bogus"}, ["listed", "unlisted", "bogus"]),
        ({"FAST_PRIORITY_TTL": "soon"}, ["FAST_PRIORITY_TTL", "soon"]),
        ({"FAST_PRIORITY_PORT": "70000"}, ["FAST_PRIORITY_PORT", "65535"]),
        ({"FAST_PRIORITY_NORMALIZE_PATHS": "maybe"}, ["FAST_PRIORITY_NORMALIZE_PATHS"]),
        ({"FAST_PRIORITY_PRIO_PATH": "x"}, ["FAST_PRIORITY_PRIO_PATHS"]),
        ({"PEAK_MAX_BODY": "10MX"}, ["PEAK_MAX_BODY", "10MX"]),
        ({"PEAK_REDIS_URL": "http://x"}, ["PEAK_REDIS_URL"]),
        ({"PEAK_REDIS_URL": "redis://u:s3cr3t@x/zero"}, ["redis://", "a number as database"]),
        ({"PEAK_REDIS_URL": "redis+sentinel://x"}, ["the name of the service"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_b42_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, env: dict[str, str], words: list[str]
) -> None:
    said = refused(tmp_path, **{BASE: "http://target", **env} if env else {})
    for word in words:
        assert word in said
    assert "s3cr3t" not in said
    assert "Traceback" not in said


def test_b46_a_dotenv_of_the_working_directory_is_honoured_role_included(redis: Server) -> None:
    port = free_ports(1)[0]
    with site(redis) as here:
        gateway = here.start_by_dotenv(COMMAND, FAST_PRIORITY_PORT=f"'{port}' # the port")
        worker = here.start_by_dotenv(COMMAND, FAST_PRIORITY_WORKERS='"2"')
        here.port = port
        until(lambda: here.ask(b"GET", PROBE).status == 200, timeout=20, what="an answer")
        until(lambda: len(worker.children()) == 2, what="two worker processes")
        assert gateway.children() == []


def test_b46_a_real_variable_beats_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{BASE}=http://target\nFAST_PRIORITY_TTL=5\n")
    assert "FAST_PRIORITY_TTL" in refused(tmp_path, FAST_PRIORITY_TTL="never")
