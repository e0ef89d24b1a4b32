"""Leases that are kept, and leases that are lost."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from pyclient import Queue, TaskDead, TaskLost
from tests.servers import Server
from tests.worker.rig import commands, eventually, line, serving
from worker_app import HandlerStuck, Worker


async def short_leases(server: Server, name: str, lease_ms: int = 400) -> None:
    """Make leases of this queue short."""
    async with commands(server, name) as scripts:
        await scripts.configure({"lease_ms": lease_ms})


@pytest.mark.parametrize("kind", ["async", "thread", "blocking"])
async def test_a_task_that_runs_for_many_leases_runs_once(
    server: Server, queue_name: str, kind: str
) -> None:
    await short_leases(server, queue_name)
    worker = Worker(queue_name, url=server.url)
    attempts: list[int] = []

    @worker.route("async")
    async def waiting(seconds: float, ctx: Any) -> int:
        attempts.append(ctx.attempt)
        await asyncio.sleep(seconds)
        return int(ctx.attempt)

    @worker.route("thread")
    def thread(seconds: float, ctx: Any) -> int:
        attempts.append(ctx.attempt)
        time.sleep(seconds)
        return int(ctx.attempt)

    @worker.route("blocking")
    async def blocking(seconds: float, ctx: Any) -> int:
        attempts.append(ctx.attempt)
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks the event loop on purpose
        return int(ctx.attempt)

    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.submit(kind, 1.1)
        async with serving(worker), serving(bystander(server, queue_name)):
            assert await ticket.result(timeout=5) == 1
    assert attempts == [1]


def bystander(server: Server, name: str) -> Worker:
    """Another worker: it sweeps, and leaves tasks of level 3 alone."""
    worker = Worker(name, url=server.url, max_level=0)

    @worker.route("other")
    async def other(payload: Any) -> None: ...

    return worker


async def test_leases_that_get_shorter_meanwhile_are_kept(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url)

    @worker.route("wait")
    async def wait(seconds: float, ctx: Any) -> int:
        await asyncio.sleep(seconds)
        return int(ctx.attempt)

    async with line(server, queue_name, worker) as queue:
        await queue.call("wait", 0)
        await asyncio.sleep(1)
        await queue.configure(lease=0.8)
        assert await queue.call("wait", 1.8) == 1


async def test_a_lost_lease_stops_the_handler_at_once(server: Server, queue_name: str) -> None:
    await short_leases(server, queue_name)
    worker = Worker(queue_name, url=server.url)
    stopped = asyncio.Event()

    @worker.route("wait")
    async def wait(payload: Any) -> None:
        try:
            await asyncio.sleep(20)
        finally:
            stopped.set()

    async with line(server, queue_name, worker) as queue:
        ticket = await queue.submit("wait")
        await asyncio.sleep(0.3)
        server.client().flushall()
        await asyncio.wait_for(stopped.wait(), 2)
        assert worker.session is not None
        await eventually(lambda: worker.session and not worker.session.desk.leases)
        assert ticket.id


async def test_a_hundred_leases_are_renewed_in_batches(server: Server, queue_name: str) -> None:
    await short_leases(server, queue_name, 400)
    worker = Worker(queue_name, url=server.url, concurrency=200)
    runs = 0

    @worker.route("wait")
    async def wait(payload: Any) -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(1)

    async with line(server, queue_name, worker) as queue:
        await asyncio.gather(*(queue.call("wait") for _ in range(150)))
    assert runs == 150


async def test_a_coroutine_that_ignores_its_end_has_the_process_replaced(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url, grace=0.3)
    free = asyncio.Event()
    fine: list[int] = []

    @worker.route("stubborn", timeout=0.3)
    async def stubborn(payload: Any) -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                pass

    @worker.route("fine")
    async def well(number: int) -> int:
        fine.append(number)
        await asyncio.sleep(1)
        return number

    async with Queue.from_url(server.url, name=queue_name) as queue:
        running = asyncio.create_task(worker.run())
        call = asyncio.create_task(queue.call("stubborn"))
        other = asyncio.create_task(queue.call("fine", 1))
        with pytest.raises(Exception, match=r"timed out after 0\.3 s"):
            await asyncio.wait_for(call, 2)
        assert await other == 1
        done, _ = await asyncio.wait([running], timeout=3)
        free.set()
        assert done
        with pytest.raises(HandlerStuck, match="stubborn"):
            await running


async def test_a_thread_that_does_not_end_has_the_process_replaced(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url, grace=0.2)
    go_on = threading.Event()

    @worker.route("stubborn", timeout=0.2)
    def stubborn(payload: Any) -> None:
        go_on.wait(10)

    async with Queue.from_url(server.url, name=queue_name) as queue:
        running = asyncio.create_task(worker.run())
        with pytest.raises(Exception, match="timed out"):
            await queue.call("stubborn")
        with pytest.raises(HandlerStuck):
            await asyncio.wait_for(running, 3)
        go_on.set()


async def test_the_last_lost_attempt_ends_the_task_as_lost(server: Server, queue_name: str) -> None:
    await short_leases(server, queue_name, 200)
    attempts: list[int] = []
    async with (
        commands(server, queue_name) as scripts,
        Queue.from_url(server.url, name=queue_name) as queue,
    ):
        ticket = await queue.submit("poison")
        while len(attempts) < 3:  # workers that claim and die
            reply = await scripts.claim("dead", 0, 1, 9)
            attempts += [task.attempt for task in reply.tasks]
            await asyncio.sleep(0.05)
        assert attempts == [1, 2, 3]
        with pytest.raises(TaskLost):
            await ticket.result(timeout=5)


async def test_what_was_lost_with_its_only_attempt_is_not_run_again(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)
    ran: list[int] = []

    @worker.route("once", attempts=1)
    async def once(payload: Any) -> None:
        ran.append(payload)

    async with (
        Queue.from_url(server.url, name=queue_name) as queue,
        commands(server, queue_name) as scripts,
    ):
        await queue.configure(lease=0.2)
        ticket = await queue.submit("once", 1)
        claimed = await scripts.claim("gone", 1, 1, 9)  # a worker that is never heard of again
        assert len(claimed.tasks) == 1
        async with serving(worker):
            with pytest.raises(TaskDead, match="attempt 2 of 1: its workers were lost"):
                await ticket.result(timeout=20)
    assert ran == []
