"""The parts of a demo: each is waited for, and one that does not come is told with its words."""

from __future__ import annotations

import http.server
import io
import re
import socketserver
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from pyclient.demo import stage
from pyclient.demo.family import Child, ChildEnded, Family
from pyclient.demo.http import request
from pyclient.demo.run import Options, redis_for
from pyclient.demo.view import View
from pyclient.keys import Keys
from tests.pyclient.client_rig import until
from tests.servers import Server, free_ports

Write = Callable[[str], object]
SAYS = "import time; print('hello from it', flush=True); time.sleep(60)"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come is not waited for as long as it may take."""
    monkeypatch.setattr(stage, "_START_S", 0.3)


@asynccontextmanager
async def child(code: str) -> AsyncIterator[Child]:
    async with Family() as family:
        made = await family.start("part", [sys.executable, "-c", code])
        await until(lambda: "hello" in made.tail(), what="its words")
        yield made


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """An address where all is answered alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Gives the script that is started in place of Python."""
    made = tmp_path / "python"
    made.touch(0o700)
    real = sys.executable
    start = Family.start

    async def started(self: Family, name: str, command: list[str], **more: object) -> Child:
        command = [str(made) if word == real else word for word in command]
        return await start(self, name, command, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Family, "start", started)
    return made.write_text


async def test_a_backend_is_up_when_it_says_its_address() -> None:
    async with Family() as family:
        backend, url = await stage.start_backend(family, slots=2, work_s=0.01)
        assert backend.running
        assert (await request(f"{url}/-/state"))[0] == 200


@pytest.mark.usefixtures("short")
async def test_a_backend_that_says_nothing_is_not_waited_for(
    python: Callable[[str], object],
) -> None:
    python("#!/bin/sh\necho 'I think' >&2\nexec sleep 60\n")
    async with Family() as family:
        with pytest.raises(stage.NotReadyError, match="the backend does not start"):
            await stage.start_backend(family, slots=2, work_s=0.01)


async def test_a_backend_that_ends_says_why(python: Write) -> None:
    python("#!/bin/sh\necho 'no slots here' >&2\nexit 3\n")
    async with Family() as family:
        with pytest.raises(ChildEnded, match=r"(?s)backend ended with exit code 3.*no slots here"):
            await stage.start_backend(family, slots=2, work_s=0.01)


@pytest.mark.usefixtures("short")
async def test_a_gateway_that_is_not_ready_is_told_with_what_it_answered() -> None:
    with answering(503, b"no Redis") as url:
        async with child(SAYS) as gateway:
            with pytest.raises(stage.NotReadyError) as told:
                await stage.gateway_ready(gateway, url)
    assert re.search(r"(?s)after 0.3 s: 503 b'no Redis'.*hello from it", str(told.value))


@pytest.mark.usefixtures("short")
async def test_a_gateway_that_nobody_can_reach_is_told_so() -> None:
    async with child(SAYS) as gateway:
        with pytest.raises(stage.NotReadyError, match="Connect call failed"):
            await stage.gateway_ready(gateway, f"http://127.0.0.1:{free_ports(1)[0]}")


async def test_a_gateway_that_ends_is_not_waited_for() -> None:
    async with child("print('hello, no')") as gateway:
        await gateway.process.wait()
        with pytest.raises(ChildEnded, match=r"(?s)exit code 0.*hello, no"):
            await stage.gateway_ready(gateway, f"http://127.0.0.1:{free_ports(1)[0]}")


@pytest.mark.usefixtures("short")
@pytest.mark.leaves_keys
async def test_workers_of_which_none_asks_for_work_are_told(server: Server) -> None:
    async with stage.opened(server.url, "peak", "idle") as (_, line), child(SAYS) as workers:
        with pytest.raises(stage.NotReadyError, match="no worker asks for work"):
            await stage.workers_ready(workers, line)
        await line.configure({"mode": "pull"})
        await line.claim("w", 1, 1, 9)
        await stage.workers_ready(workers, line)


async def test_a_purge_takes_all_of_one_queue_and_nothing_else(server: Server) -> None:
    client = server.client()
    mine, other = Keys("peak", "mine"), Keys("peak", "mine2")
    for number in range(3000):  # more than one SCAN brings
        client.set(mine.base + b"result:%d" % number, "x")
    client.set(other.base + b"result:1", "x", px=60_000)
    async with stage.opened(server.url, "peak", "mine") as (conn, _):
        await stage.purge(conn, mine)
    assert client.keys() == [other.base + b"result:1"]


async def test_a_demo_on_a_server_of_yours_takes_its_keys_away_again(server: Server) -> None:
    client, out = server.client(), io.StringIO()
    client.set("yours", "x", px=60_000)
    queues: set[str] = set()
    for _ in range(2):
        async with redis_for(Options(redis_url=server.url), View(out)) as (url, queue):
            assert (url, f"queue {queue}\n" in out.getvalue()) == (server.url, True)
            queues.add(queue)
            for name in (queue, f"{queue}.hold"):
                client.set(Keys("peak", name).settings(), "x")
    assert len(queues) == 2
    assert client.keys() == [b"yours"]


async def test_a_demo_with_no_server_named_brings_its_own() -> None:
    out = io.StringIO()
    async with redis_for(Options(), View(out)) as (url, _):
        async with stage.opened(url, "peak", "own") as (conn, _):
            assert await conn.command("PING", at=b"") in (b"PONG", "PONG")
        assert f"embedded Valkey at {url}" in out.getvalue()
