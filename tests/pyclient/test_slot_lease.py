"""Leases of slots: kept while the event loop is blocked, and stopped work where they end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import TaskExpired, TaskLost
from pyclient.model import Told
from pyclient.slot import Lease
from tests.pyclient.client_rig import until
from tests.pyclient.test_slot import free, gauge
from tests.servers import Server


async def lose(queue: Queue, task_id: str) -> None:
    """As an operator (or a sweep after silence) would."""
    await (await queue._engine.commands("hold")).cancel("operator", 0, "cancelled", [task_id])


async def test_a_blocked_event_loop_keeps_slots_and_inbox(server: Server, queue_name: str) -> None:
    async with (
        Queue.from_url(server.url, name=queue_name) as queue,
        Queue.from_url(server.url, name=queue_name) as other,
    ):
        await queue.configure(slots=1, lease=0.3)
        async with queue.slot() as lease:
            behind = asyncio.create_task(queue.slot(timeout=20).__aenter__())
            await until(lambda: len(queue._engine._lines["hold"].inbox) == 1)
            rival = asyncio.create_task(other_thread(other.url, queue_name))
            await waiting_for_slots(queue, 2)
            time.sleep(1.2)  # noqa: ASYNC251 - four leases
            assert not lease.lost
            now = await gauge(queue)
            assert (now["running"], now["lost"], now["cancelled"]) == (1, 0, 0)
            assert not rival.done()
        mine = await behind
        await queue._engine._lines["hold"].end(mine.id, mine.fence)
        await rival
        await free(queue)


async def waiting_for_slots(queue: Queue, count: int) -> None:
    async def enough() -> bool:
        return bool((await gauge(queue))["waiting"] == count)

    await until(enough, what=f"{count} that wait for a slot")


async def other_thread(url: str, name: str) -> None:
    """Someone else who waits, and so sees to sweeping, in a loop that is not blocked."""

    async def work() -> None:
        async with Queue.from_url(url, name=name) as queue, queue.slot(timeout=20):
            pass

    await asyncio.to_thread(asyncio.run, work())


async def test_a_lost_lease_cancels_the_block_and_is_told(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.3)
        leases: list[Lease] = []

        async def work() -> None:
            async with queue.slot() as lease:
                leases.append(lease)
                await lose(queue, lease.id)
                await asyncio.sleep(10)

        began = time.monotonic()
        with pytest.raises(TaskLost) as caught:
            await work()
        assert time.monotonic() - began < 5
        (lease,) = leases
        assert caught.value.task_id == lease.id
        assert lease.lost
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0.01)  # no cancel is left over


async def test_a_lost_lease_that_the_block_did_not_notice_is_told_too(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.3)

        async def work(seconds: float) -> None:
            async with queue.slot() as lease:
                with contextlib.suppress(asyncio.CancelledError):
                    await lose(queue, lease.id)
                    await asyncio.sleep(seconds)

        for seconds in (0, 10):
            with pytest.raises(TaskLost, match="ended before the block did"):
                await work(seconds)
        await asyncio.sleep(0.01)


async def test_an_error_of_the_block_goes_before_a_lost_lease(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:

        async def work() -> None:
            async with queue.slot() as lease:
                with contextlib.suppress(asyncio.CancelledError):
                    await lose(queue, lease.id)
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await work()


async def test_cancelled_from_outside_as_well_it_stays_cancelled(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        inside = asyncio.Event()

        async def work() -> None:
            async with queue.slot() as lease:
                inside.set()
                try:
                    await asyncio.sleep(10)
                finally:
                    lease.lose()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    server.client().flushall()  # it was not lost in truth


async def test_an_old_grant_that_can_not_be_renewed_does_not_outlast_the_time_out(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        line, keeper = await queue._engine.hold(asyncio.get_running_loop().time() + 5)
        take = line.inbox.take

        def old(task_id: str, value: bytes, since: float = 0.0) -> None:
            take(task_id, value, -100.0)

        async def silent(caller: str, leases: Any) -> Told:
            await asyncio.sleep(60)
            raise AssertionError

        line.inbox.take = old  # type: ignore[method-assign]
        line.commands.renew = silent  # type: ignore[method-assign]
        with pytest.raises(TaskExpired, match="came too late"):
            async with asyncio.timeout(5):
                await queue.slot(timeout=0.3).__aenter__()
        assert keeper.held == {}
        await free(queue)


async def test_a_detached_lease_is_lost_without_cancelling_anyone(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.3)
        slot = queue.slot()
        lease = await slot.enter_detached()
        await lose(queue, lease.id)
        await until(lambda: lease.lost, timeout=2)
        with pytest.raises(TaskLost):
            await slot.__aexit__(None, None, None)


async def test_a_lease_lost_while_it_is_given_back_cancels_nobody(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        async with queue.slot() as lease:
            keeper = queue._engine.slots
            assert keeper is not None
        keeper._lost(lease)
        await asyncio.sleep(0.01)
        assert not lease.lost


async def test_a_holder_that_died_frees_its_slot_within_a_lease_and_a_second(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1, lease=0.5)
        dead = Queue.from_url(server.url, name=queue_name)
        await dead.slot().__aenter__()
        keeper = dead._engine._keeper
        assert keeper is not None
        await asyncio.to_thread(keeper.stop)
        began = time.monotonic()
        async with queue.slot(timeout=5):
            assert time.monotonic() - began < 1.5
        dead._engine._holds.clear()
        await dead.aclose()


async def test_a_shorter_lease_is_heard_of_at_once_here_and_soon_elsewhere(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        async with queue.slot():
            await queue.configure(lease=0.3)
            assert queue._engine._lines["hold"].inbox.lease_ms == 300
            await asyncio.sleep(1)
        await queue.configure(lease=20)
        assert queue._engine._lines["hold"].inbox.lease_ms == 20_000
