"""Raw exchanges: the time in line and the time of the run are bounded apart."""

from __future__ import annotations

import asyncio

import pytest

from pyclient.errors import TaskError
from tests.pyclient.client_rig import served
from tests.servers import Server


async def slow(payload: bytes) -> bytes:
    """Takes longer than anybody may wait in line."""
    await asyncio.sleep(0.9)
    return payload


async def test_what_begins_in_time_may_run_for_its_own_time(
    server: Server, queue_name: str
) -> None:
    async with served(server.url, queue_name, slow) as (queue, _):
        assert await queue.exchange("r", b"x", wait_ms=300, run_ms=5000) == b"x"
        began = asyncio.get_running_loop().time()
        with pytest.raises(TaskError):
            await queue.exchange("r", b"x", wait_ms=300, run_ms=300)
        assert asyncio.get_running_loop().time() - began < 0.6 + 0.25
