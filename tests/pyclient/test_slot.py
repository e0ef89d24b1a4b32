"""Slots: a turn is held by one, given back whatever happens, and not used without a lease."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import (
    ConfigError,
    QueueClosed,
    TaskCancelled,
    TaskExpired,
    TaskLost,
    Unavailable,
)
from pyclient.model import Told
from tests.faultproxy import FaultProxy
from tests.pyclient.client_rig import until
from tests.servers import Server


async def gauge(queue: Queue) -> dict[str, Any]:
    """Of the sister queue."""
    return await (await queue._engine.commands("hold")).gauge()


async def free(queue: Queue) -> None:
    """Until nobody holds or waits for a turn."""

    async def nobody() -> bool:
        now = await gauge(queue)
        return bool(now["running"] == now["waiting"] == 0)

    await until(nobody, what="a free line")


async def test_no_more_than_so_many_run_at_once_and_all_run(
    server: Server, queue_name: str
) -> None:
    inside, most, order = 0, 0, []

    async def work(queue: Queue, number: int) -> None:
        nonlocal inside, most
        async with queue.slot("db", timeout=20) as lease:
            inside += 1
            most = max(most, inside)
            order.append(lease.fence)
            await asyncio.sleep(0.001)
            inside -= 1

    async with (
        Queue.from_url(server.url, name=queue_name) as one,
        Queue.from_url(server.url, name=queue_name) as other,
    ):
        await one.configure(slots=3)
        await asyncio.gather(*(work(one if n % 2 else other, n) for n in range(200)))
        assert most == 3
        assert len(set(order)) == 200
        await free(one)


async def test_fences_rise_and_waiting_is_measured(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1)
        async with queue.slot() as first:
            behind = asyncio.create_task(queue.slot().__aenter__())
            await asyncio.sleep(0.1)
            assert not behind.done()
        second = await behind
        assert second.fence > first.fence
        assert second.waited_ms >= 90 > first.waited_ms
        assert not first.lost
        await queue._engine._lines["hold"].end(second.id, second.fence)


async def test_a_raised_limit_gives_all_turns_at_once(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1)
        leave = asyncio.Event()
        inside = 0

        async def work() -> None:
            nonlocal inside
            async with queue.slot(timeout=20):
                inside += 1
                await leave.wait()

        tasks = [asyncio.create_task(work()) for _ in range(200)]
        await until(lambda: inside == 1)
        await queue.configure(slots=200)
        await until(lambda: inside == 200, timeout=1, what="200 turns")
        leave.set()
        await asyncio.gather(*tasks)
        await free(queue)


async def test_refused_and_late_turns(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1)
        async with queue.slot():
            with pytest.raises(TaskExpired, match="no turn came"):
                await queue.slot(timeout=0.1).__aenter__()
        await queue.close("for lunch")
        with pytest.raises(QueueClosed, match="for lunch"):
            await queue.slot().__aenter__()
        await free(queue)


async def test_a_slot_is_used_once(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        slot = queue.slot()
        async with slot:
            with pytest.raises(ConfigError, match="used once"):
                await slot.__aenter__()
        with pytest.raises(ConfigError, match="used once"):
            await slot.__aenter__()
        await slot.__aexit__(None, None, None)
        await free(queue)


async def test_cancelled_at_any_moment_a_slot_goes_back(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=2)

        async def work() -> None:
            async with queue.slot():
                await asyncio.sleep(0)

        async with queue.slot():
            pass
        for turns in range(60):
            tasks = [asyncio.create_task(work()) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[:3]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert tasks[3].exception() is None
        await free(queue)
        assert queue._engine.slots is not None
        assert queue._engine.slots.held == {}
        assert len(queue._engine._lines["hold"].inbox) == 0


async def test_cancelled_together_with_its_turn_a_slot_goes_back(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1)
        async with queue.slot():
            behind = asyncio.create_task(queue.slot().__aenter__())
            await until(lambda: len(queue._engine._lines["hold"].inbox) == 1)
            line = queue._engine._lines["hold"]
            take = line.inbox.take

            def and_cancel(task_id: str, value: bytes, since: float = 0.0) -> None:
                take(task_id, value, since)
                behind.cancel()

            line.inbox.take = and_cancel  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await behind
        line.inbox.take = take  # type: ignore[method-assign]
        await free(queue)


async def test_cancelled_while_it_goes_back_it_still_does(server: Server, queue_name: str) -> None:
    async with FaultProxy(server.url) as proxy, Queue.from_url(proxy.url, name=queue_name) as queue:
        slot = queue.slot()
        await slot.__aenter__()
        proxy.delay = lambda: 0.05
        leaving = asyncio.create_task(slot.__aexit__(None, None, None))
        await asyncio.sleep(0.02)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await free(queue)


async def test_what_the_block_raises_comes_out(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        with pytest.raises(ValueError, match="mine"):
            async with queue.slot():
                raise ValueError("mine")
        await free(queue)


async def test_a_time_out_around_it_works_as_always(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1)
        async with queue.slot():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), queue.slot():
                    pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), queue.slot():
                await asyncio.sleep(5)
        await free(queue)


@pytest.mark.parametrize("state", ["alive", "ended"])
async def test_a_grant_that_may_be_old_is_renewed_first_and_not_used_if_it_ended(
    server: Server, queue_name: str, state: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        line, keeper = await queue._engine.hold(asyncio.get_running_loop().time() + 5)
        take, renewed = line.inbox.take, []
        renew = line.commands.renew

        def old(task_id: str, value: bytes, since: float = 0.0) -> None:
            take(task_id, value, -100.0)

        async def noting(caller: str, leases: Any) -> Told:
            renewed.extend(leases)
            if state == "ended":
                commands = await queue._engine.commands("hold")
                await commands.cancel("operator", 0, "cancelled", [leases[0][0]])
            return await renew(caller, leases)

        line.inbox.take = old  # type: ignore[method-assign]
        line.commands.renew = noting  # type: ignore[method-assign]
        if state == "alive":
            async with queue.slot() as lease:
                assert renewed == [(lease.id, lease.fence)]
        else:
            with pytest.raises(TaskLost, match="came too late"):
                await queue.slot().__aenter__()
        assert keeper.held == {}
        await free(queue)


async def test_closing_the_queue_stops_who_holds_a_slot(server: Server, queue_name: str) -> None:
    queue = Queue.from_url(server.url, name=queue_name)
    inside = asyncio.Event()

    async def work() -> None:
        async with queue.slot():
            inside.set()
            await asyncio.sleep(60)

    holder = asyncio.create_task(work())
    await inside.wait()
    await queue.configure(slots=1)
    waiter = asyncio.create_task(queue.slot().__aenter__())
    await until(lambda: len(queue._engine._lines["hold"].inbox) == 1)
    await queue.aclose()
    with pytest.raises(TaskLost):
        await holder
    with pytest.raises(Unavailable):
        await waiter
    server.client().flushall()  # the lease ends by its time


async def test_leaving_after_the_queue_was_closed_is_no_error(
    server: Server, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        slot = queue.slot()
        await slot.enter_detached()
        assert queue._engine.slots is not None
        queue._engine.slots.held.clear()
        await queue.aclose()
        await slot.__aexit__(None, None, None)
        assert "could not be given back" in caplog.text
    server.client().flushall()


async def test_an_abandoned_slot_goes_back_now_or_when_its_turn_comes(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1)
        held, waits = queue.slot(), queue.slot()
        await held.enter_detached()
        entering = asyncio.create_task(waits.enter_detached())
        await until(lambda: len(queue._engine._lines["hold"].inbox) == 1)
        waits.abandon()
        held.abandon()
        with pytest.raises(TaskCancelled, match="nobody waits"):
            await entering
        await held.__aexit__(None, None, None)
        await free(queue)
    waits.abandon()


async def test_cancelled_before_its_turn_by_someone_else(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(slots=1)
        async with queue.slot():
            waits = asyncio.create_task(queue.slot().__aenter__())
            (line,) = queue._engine._lines.values()
            (task_id,) = await until(lambda: list(line.inbox._waiters))
            await until(lambda: line.inbox.waiting(task_id)[0].expected)
            await line.commands.cancel("operator", 0, "cancelled", [task_id])
            with pytest.raises(TaskCancelled):
                await waits
