"""Each example as its reader runs it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pyclient.demo.http import request
from tests.cli.support import ROOT, environment
from tests.demo.support import Running
from tests.servers import Server, free_ports, until

EXAMPLES = ROOT / "examples"


def ask(url: str, method: str = "GET") -> tuple[int, bytes]:
    return asyncio.run(request(url, method))


@contextmanager
def program(folder: Path, *command: str, **env: str) -> Iterator[Running]:
    folder.mkdir(exist_ok=True)
    path = f"{EXAMPLES}:{ROOT}"
    running = Running([sys.executable, "-m", *command], folder, PYTHONPATH=path, **env)
    try:
        yield running
        running.signal(signal.SIGTERM)
        assert running.wait() in (0, -signal.SIGTERM), running.words()
        running.none_left(timeout=1)
    finally:
        running.end()


@contextmanager
def web(folder: Path, app: str, **env: str) -> Iterator[str]:
    (port,) = free_ports(1)
    with program(folder, "uvicorn", app, "--port", str(port), **env) as running:
        until(
            lambda: "Uvicorn running" in running.stderr or running.process.poll() is not None,
            timeout=30,
            what="uvicorn",
        )
        assert running.process.poll() is None, running.words()
        yield f"http://127.0.0.1:{port}"


@pytest.mark.leaves_keys
def test_web_program_and_workers(server: Server, tmp_path: Path) -> None:
    env = {"PEAK_REDIS_URL": server.url}
    with ExitStack() as stack:
        worker = program(tmp_path / "worker", "worker_app", "worker:worker", "-p", "1", **env)
        stack.enter_context(worker)
        url = stack.enter_context(web(tmp_path / "web", "web:app", **env))
        assert ask(f"{url}/fibonacci/90") == (200, b'"2880067194370816120"')
        assert ask(f"{url}/factors/{2 * 3 * 3 * 97}") == (200, b"[2,3,3,97]")
        assert ask(f"{url}/factors/0")[0] == 422
        status, body = ask(f"{url}/factors/91", "POST")
        assert status == 202
        ticket = json.loads(body)["id"]

        def answered() -> bool:
            return b'"state":"done"' in ask(f"{url}/tickets/{ticket}")[1]

        until(answered, what="the ticket's answer")
        assert json.loads(ask(f"{url}/tickets/{ticket}")[1])["result"] == [7, 13]


def test_middleware_lets_two_in_at_once(server: Server, tmp_path: Path) -> None:
    async def six(url: str) -> float:
        began = time.monotonic()
        answers = await asyncio.gather(*(request(f"{url}/usual") for _ in range(6)))
        assert [status for status, _ in answers] == [200] * 6
        return time.monotonic() - began

    with web(tmp_path / "web", "middleware:app", PEAK_REDIS_URL=server.url) as url:
        assert ask(f"{url}/health") == (200, b'{"status":"ok"}')
        assert ask(f"{url}/urgent")[0] == 200
        assert asyncio.run(six(url)) >= 0.3, "three rounds of 0.1 s"


def test_turns(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "turns.py")],
        capture_output=True,
        env=environment(PEAK_REDIS_URL=server.url),
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert any(line.startswith("report 7 ") for line in lines[:4]), "the urgent one goes ahead"
