"""A queue without a server of its own: one for the process, or one on a directory."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from pyclient import Queue, embedded
from pyclient.errors import PeakError, StateLost, Unavailable
from tests.pyclient.client_rig import TinyWorker, until


async def test_embedded_is_one_server_for_the_whole_process(queue_name: str) -> None:
    async with Queue.from_url("embedded://", name=queue_name) as queue:
        assert queue.address.startswith("unix://")
        async with (
            TinyWorker(queue.address, queue_name),
            Queue.from_url(name=queue_name) as other,
        ):
            assert await queue.call("r", 1) == await other.call("r", 1) == 1
            async with other.slot():
                pass
    async with Queue.from_url(queue.address, name=queue_name) as again:
        assert (await again.gauge())["done"] == 2, "it outlives the queues"


async def test_a_private_server_that_died_is_replaced_when_opened_again(queue_name: str) -> None:
    async with Queue.from_url(name=queue_name) as queue:
        await queue.attach("x" * 22)
        server = embedded.private()
        os.kill(server.pid, 9)
        await until(lambda: not server.running())
        with pytest.raises(PeakError):
            await queue.call("r", timeout=0.5)
        await asyncio.to_thread(server.stop)
    async with queue:
        assert (await queue.gauge())["waiting"] == 0


async def test_a_server_on_a_directory_is_shared_and_started_anew(
    tmp_path: Path, queue_name: str
) -> None:
    url = f"embedded://{tmp_path}/data"
    first = embedded.shared(f"{tmp_path}/data")
    async with Queue.from_url(url, name=queue_name) as queue:
        ticket = await queue.submit("r", 7)
        waits = asyncio.create_task(ticket.result(20))
        await asyncio.sleep(1.2)  # appendfsync everysec
        await asyncio.to_thread(first.stop)
        with pytest.raises(PeakError):
            await queue.call("r", timeout=0.05)

        async def again() -> bool:
            try:
                return bool((await queue.gauge())["waiting"] == 1)
            except Unavailable:
                return False

        await until(again, timeout=10, what="another server on the same data")
        async with TinyWorker(url, queue_name):
            try:
                assert await waits == 7
            except StateLost:  # of the last second; loud, never a hang
                pass
        started = [one for one in gc.get_objects() if isinstance(one, embedded.EmbeddedServer)]
    for one in started:  # else they end with this process
        await asyncio.to_thread(one.stop)
