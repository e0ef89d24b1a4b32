"""A request leaves nothing for the collector: else all that lives is looked at again and again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from gateway_app import server as gateway_server
from gateway_app.app import create_app
from gateway_app.server import Server, make_config
from pyclient.settings import load
from tests import servers
from tests.garbage import left_behind
from tests.worker.rig import eventually

from .target import Target

TIMES = 20


@contextlib.asynccontextmanager
async def gateway(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A gateway in this process, on the port that it gives."""
    monkeypatch.setattr(gateway_server, "calm", lambda: None)
    settings = load(env)
    server = Server(make_config(create_app(settings), settings), settings)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve([sock]))
        await eventually(lambda: server.started)
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The status of one more answer on a connection that is kept."""
    writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return head.split(b" ")[1]


@pytest.mark.parametrize("status", [b"200", b"503"])
async def test_nothing_is_left(
    redis: servers.Server, target: Target, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_MODE": "hold",
        "PEAK_QUEUE": f"garbage-{status.decode()}",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
    }
    if status == b"503":
        env |= {"PEAK_CONCURRENCY": "1", "PEAK_MAX_QUEUE": "1"}
    async with gateway(env, monkeypatch) as port, contextlib.AsyncExitStack() as stack:
        if status == b"503":
            for _ in range(2):  # one runs, one waits
                waits = await asyncio.open_connection("127.0.0.1", port)
                stack.callback(waits[1].close)
                waits[1].write(b"GET /slow/2 HTTP/1.1\r\nHost: x\r\n\r\n")
                await asyncio.sleep(0.2)
        client = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(client[1].close)
        assert await ask(*client) == status
        with left_behind() as found:
            for _ in range(TIMES):
                assert await ask(*client) == status
        assert all(count < TIMES for count in found.values()), found
