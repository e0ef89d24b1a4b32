"""Whatever ends a queue, and whenever: nobody is left waiting, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from pyclient import Queue, SyncQueue
from pyclient.errors import PeakError, Unavailable
from tests.faultproxy import FaultProxy
from tests.pyclient.client_rig import TinyWorker, until, waiting
from tests.servers import PATIENCE_S, Server


async def test_who_waits_for_the_task_of_another_is_told_of_the_end(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as owner:
        ticket = await owner.submit("r")
        async with Queue.from_url(server.url, name=queue_name) as queue:
            result = asyncio.create_task((await queue.attach(ticket.id)).result())
            line = queue._engine._lines["pull"]
            await until(lambda: line.inbox.waiting(ticket.id))
            await asyncio.sleep(0)  # its watch has begun
        with pytest.raises(Unavailable, match="was closed"):
            await asyncio.wait_for(result, PATIENCE_S)
        await ticket.cancel()


async def test_a_ticket_says_each_time_that_its_queue_was_closed(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.submit("r")
    for _ in range(3):
        with pytest.raises(Unavailable, match="was closed"):
            await asyncio.wait_for(ticket.result(), PATIENCE_S)
    server.client().flushall()


async def test_more_cancels_than_one_call_takes_all_hear_of_the_end(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        tickets = await queue.submit_many("r", range(150))
        with server.paused():
            cancels = [asyncio.create_task(ticket.cancel()) for ticket in tickets]
            await asyncio.sleep(0)
            await queue.aclose()
            done, left = await asyncio.wait(cancels, timeout=PATIENCE_S)
    assert not left
    assert all(isinstance(one.exception(), Unavailable) for one in done)
    server.client().flushall()


async def test_closed_after_a_value_that_overtook_its_admission(
    server: Server, queue_name: str
) -> None:
    async with (
        FaultProxy(server.url) as proxy,
        TinyWorker(server.url, queue_name),
        Queue.from_url(proxy.url, name=queue_name) as queue,
    ):
        await queue.call("r")
        proxy.when(b"payload-of-mine", "mute")
        submission = asyncio.create_task(queue.submit("r", "payload-of-mine"))
        line = queue._engine._lines["pull"]
        await until(lambda: [e for e in line._sending if e.admitted and e.future.done()])
        await queue.aclose()
        assert len((await asyncio.wait_for(submission, PATIENCE_S)).id) == 22


async def test_a_new_lease_is_heard_of_while_another_line_opens(
    server: Server, queue_name: str
) -> None:
    for turns in range(12):
        async with Queue.from_url(server.url, name=queue_name) as queue:
            await queue.attach("x" * 22)

            async def hold(turns: int = turns, queue: Queue = queue) -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                async with queue.slot():
                    pass

            await asyncio.gather(queue.configure(lease=5), hold())


@pytest.mark.parametrize("turns", range(6))
async def test_an_end_that_is_cancelled_leaves_nobody_waiting_and_nothing_behind(
    server: Server, queue_name: str, turns: int
) -> None:
    client, mine = server.client(), asyncio.all_tasks()
    queue = Queue.from_url(server.url, name=queue_name)
    ticket = await queue.submit("r")
    waits = [asyncio.create_task(queue.call("r")), asyncio.create_task(ticket.result())]
    async with queue.slot():
        pass
    await waiting(queue, 2)
    tasks = list(queue._engine._lines["pull"]._tasks)
    closing = asyncio.create_task(queue.aclose())
    for _ in range(100_000):
        if any(task.cancelling() for task in tasks):
            break
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    _, left = await asyncio.wait(waits, timeout=PATIENCE_S)
    assert not left
    for wait in waits:
        with contextlib.suppress(PeakError):
            await wait
    await until(lambda: not [c for c in client.client_list() if c["name"].startswith("peak")])
    await until(lambda: asyncio.all_tasks() <= mine)
    await until(lambda: not [t for t in threading.enumerate() if t.name == "peak-keeper"])
    client.flushall()


async def test_while_redis_is_away_all_that_open_share_one_attempt() -> None:
    queue = Queue.from_url("redis://127.0.0.1:1", name="q")
    attempts: list[int] = []
    address = queue._engine._address

    async def count() -> str:
        attempts.append(1)
        return await address()

    queue._engine._address = count  # type: ignore[method-assign]
    ends = await asyncio.gather(*(queue.gauge() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)
    assert len(attempts) == 1
    await queue.aclose()


def test_an_error_in_a_slot_of_a_queue_that_was_closed_is_told(
    server: Server, queue_name: str
) -> None:
    queue = SyncQueue.from_url(server.url, name=queue_name)
    with pytest.raises(ValueError, match="mine"), queue.slot():  # noqa: PT012
        queue.aclose()
        raise ValueError("mine")
    server.client().flushall()
