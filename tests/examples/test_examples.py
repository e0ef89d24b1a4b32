"""Every example runs as it stands, and does what its words say."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import servers
from tests.servers import PATIENCE_S, Server

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@contextmanager
def running(server: Server, *words: str, folder: Path = EXAMPLES) -> Iterator[subprocess.Popen]:  # type: ignore[type-arg]
    """A program, ended by SIGTERM: it must exit with 0."""
    process = subprocess.Popen([sys.executable, *words], cwd=folder, env=environment(server))
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def environment(server: Server) -> dict[str, str]:
    """Redis at the server, the project on the path, and no settings of whoever runs the tests."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PEAK_")}
    return {**kept, "PEAK_REDIS_URL": server.url, "PYTHONPATH": str(ROOT)}


@contextmanager
def web(server: Server, module: str, *, folder: Path = EXAMPLES) -> Iterator[httpx.Client]:
    """An app of the examples under uvicorn, once it answers."""
    port = str(servers.free_ports(1)[0])
    words = ("-m", "uvicorn", f"{module}:app", "--port", port, "--log-level", "warning")
    with (
        running(server, *words, folder=folder),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http,
    ):
        until(lambda: _answers(http))
        yield http


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/docs").status_code > 0
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], timeout: float = PATIENCE_S) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it does not begin"
        time.sleep(0.05)


@pytest.mark.parametrize("module", sorted(path.stem for path in EXAMPLES.rglob("*.py")))
def test_each_example_is_run_here(module: str) -> None:
    assert module in {
        *("contract", "gateway", "limited", "middleware"),
        *("nodes", "turns", "web", "worker"),
    }


@pytest.mark.leaves_keys
def test_web_program_and_workers(server: Server) -> None:
    """contract.py, web.py, worker.py."""
    with (
        running(server, "-m", "worker_app", "worker:worker", "-p", "1"),
        web(server, "web") as http,
    ):
        assert http.get("/fibonacci/90").json() == "2880067194370816120"
        assert http.get("/factors/360").json() == [2, 2, 2, 3, 3, 5]
        assert http.get("/factors/0").status_code == 422
        ticket = http.post("/factors/97").json()["id"]
        until(lambda: http.get(f"/tickets/{ticket}").json()["state"] == "done")
        assert http.get(f"/tickets/{ticket}").json()["result"] == [97]


async def test_middleware(server: Server) -> None:
    with web(server, "middleware") as blocking:
        assert blocking.get("/health").json() == {"status": "ok"}
        async with httpx.AsyncClient(base_url=blocking.base_url, timeout=20) as http:
            begun = time.monotonic()
            paths = ["/usual"] * 5 + ["/urgent"]
            answers = await asyncio.gather(*[http.get(path) for path in paths])
            assert time.monotonic() - begun >= 0.3
        assert [answer.json() for answer in answers] == [{"done": "yes"}] * 6


def test_limited(server: Server) -> None:
    with web(server, "limited") as http:
        answers = [http.get("/", headers={"x-api-key": "mine"}) for _ in range(30)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:10] == [200] * 10
        assert 429 in statuses
        assert answers[statuses.index(429)].headers["retry-after"] == "1"
        assert http.get("/", headers={"x-api-key": "theirs"}).status_code == 200


def test_turns(server: Server) -> None:
    words = [sys.executable, "turns.py"]
    said = subprocess.run(
        words, cwd=EXAMPLES, env=environment(server), capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert len(lines) == 8
    fences = [int(line.rpartition(" ")[2]) for line in lines]
    assert sorted(fences) == fences


def test_moving_from_fastapi_queue(server: Server) -> None:
    """moving/gateway.py, moving/nodes.py."""
    folder = EXAMPLES / "moving"
    with (
        running(server, "nodes.py", folder=folder),
        web(server, "gateway", folder=folder) as http,
    ):
        until(lambda: http.get("/price?item=tea&count=2").status_code != 503)
        assert http.get("/price?item=tea&count=2").json() == {"price": 6}
        wrong = http.get("/price?item=gold")
        assert (wrong.status_code, wrong.json()) == (500, "<class 'KeyError'>:'gold'")
