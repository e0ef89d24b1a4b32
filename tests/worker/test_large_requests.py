"""Large requests lie in a key of their own, and no longer than they are needed."""

from __future__ import annotations

import asyncio

import pytest

from pyclient import TaskFailed
from pyclient.connection import Connection
from tests.servers import Server
from tests.worker.rig import line
from worker_app import Context, Worker

LARGE = b"x" * 50_000


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_large_request_is_removed_once_read_where_nobody_else_may_need_it(
    server: Server, queue_name: str, attempts: int
) -> None:
    worker = Worker(queue_name, url=server.url)
    conn = Connection(server.url)
    found: list[bool] = []
    left = attempts > 1

    @worker.route("look", raw=True)
    async def look(payload: bytes, ctx: Context) -> bytes:
        assert payload == LARGE
        key = queue.keys.request_body(ctx.id)
        # A second command of ours follows the worker's own on the way.
        for _ in range(50):
            found.append(bool(await conn.command(b"EXISTS", key)))
            if found[-1] is left:
                break
        return b"seen"

    async with line(server, queue_name, worker) as queue:
        await conn.open()
        answer = await queue.exchange("look", LARGE, wait_ms=5000, run_ms=5000, attempts=attempts)
        await conn.aclose()
    assert answer == b"seen"
    assert found[-1] is left


async def test_a_request_that_was_read_is_never_handed_back_uncounted(
    server: Server, queue_name: str
) -> None:
    """Its body is gone: another worker could only fail with it."""
    worker = Worker(queue_name, url=server.url, drain_timeout=0.2)
    ran: list[int] = []

    @worker.route("stay", raw=True)
    async def stay(payload: bytes, ctx: Context) -> bytes:
        ran.append(ctx.attempt)
        worker.stop()
        await asyncio.sleep(30)
        return b""

    async with line(server, queue_name, worker) as queue:
        with pytest.raises(Exception, match="its worker stopped") as caught:
            await queue.exchange("stay", LARGE, wait_ms=5000, run_ms=20_000, attempts=1)
        assert not isinstance(caught.value, TaskFailed)
    assert ran == [1]
