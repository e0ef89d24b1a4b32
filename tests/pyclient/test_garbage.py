"""A call leaves nothing for the collector, whatever becomes of it: when most are refused, there
is no time to look for their remains."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import QueueFull, TaskExpired
from tests.garbage import left_behind
from tests.servers import Server
from tests.worker.rig import echo, line

TIMES = 20


async def called(queue: Queue) -> None:
    assert await queue.call("echo", 1, timeout=10) == 1


async def refused(queue: Queue) -> None:
    with pytest.raises(QueueFull):
        await queue.call("full", timeout=10)


async def expired(queue: Queue) -> None:
    with pytest.raises(TaskExpired):
        await queue.call("nobody", timeout=0.02)


async def cancelled(queue: Queue) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(queue.call("nobody", timeout=10), 0.02)


async def turned_away(queue: Queue) -> None:
    with pytest.raises(QueueFull):
        async with queue.slot("full", timeout=10):
            raise AssertionError("it had a turn")


async def had_a_turn(queue: Queue) -> None:
    async with queue.slot("some"):
        pass


@pytest.mark.parametrize("what", [called, refused, expired, cancelled, turned_away, had_a_turn])
async def test_nothing_is_left(
    server: Server, queue_name: str, what: Callable[[Queue], Awaitable[Any]]
) -> None:
    async with line(server, queue_name, echo(server, queue_name)) as queue, queue.slot("full"):
        await queue.configure(room={"full": 1})
        waits = asyncio.create_task(queue.call("full", timeout=30))
        await asyncio.sleep(0.05)
        await what(queue)
        with left_behind() as found:
            for _ in range(TIMES):
                await what(queue)
        assert all(count < TIMES for count in found.values()), found
        waits.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waits
