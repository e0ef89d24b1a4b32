"""The main paths, each part under the user of its role, on both servers: nothing is denied."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from pyclient import Queue, QueueFull, RateLimiter, TaskCancelled, TaskDead
from tests.cli.support import run
from tests.security.users import Users, users_of
from tests.worker.rig import serving
from worker_app import Context, Retry, Worker


@pytest.fixture(params=["server", "redis_debian"])
def users(request: pytest.FixtureRequest) -> Iterator[Users]:
    with users_of(request.getfixturevalue(request.param)) as made:
        yield made
        assert made.denied() == []


def a_worker(users: Users, name: str) -> Worker:
    worker = Worker(name, url=users.url("worker"), concurrency=4)

    @worker.route("echo")
    async def echo(payload: object) -> object:
        return payload

    @worker.route("twice", attempts=2)
    async def twice(payload: object, ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Retry(0)
        return ctx.attempt

    @worker.route("never")
    async def never(payload: object) -> None:
        raise Retry(0, reason="never")

    @worker.route("slow")
    async def slow(payload: object) -> None:
        await asyncio.sleep(30)

    return worker


async def test_calls_tickets_and_large_bodies(users: Users, queue_name: str) -> None:
    async with (
        Queue.from_url(users.url("gateway"), name=queue_name) as queue,
        serving(a_worker(users, queue_name)),
    ):
        assert await queue.call("echo", "hi", timeout=10) == "hi"
        large = "x" * 100_000
        assert await queue.call("echo", large, timeout=10) == large
        ticket = await queue.submit("echo", 1, key="one", timeout=10)
        assert await (await queue.attach(ticket.id)).result(timeout=10) == 1
        assert await queue.call("twice", timeout=10) == 2
        with pytest.raises(TaskDead):
            await queue.call("never", timeout=10)
        slow = await queue.submit("slow", timeout=20)
        await _until(lambda: _is(slow.state(), "running"))
        await slow.cancel()
        with pytest.raises(TaskCancelled):
            await slow.result(timeout=10)
    where = ("--queue", queue_name, "--url", users.url("operator"))
    for words in (("dead", "ls"), ("dead", "revive", "--all")):
        done = await asyncio.to_thread(run, *words, *where)
        assert done.returncode == 0, (words, done)
    done = await asyncio.to_thread(run, "doctor", *where)  # one waits, and no worker is there
    assert "all invariants hold over 1 tasks" in done.stdout
    async with (
        Queue.from_url(users.url("gateway"), name=queue_name) as queue,
        serving(a_worker(users, queue_name)),
    ):
        await _until(lambda: _drained(queue))


async def test_slots_limits_and_settings(users: Users, queue_name: str) -> None:
    async with Queue.from_url(users.url("gateway"), name=queue_name) as queue:
        await queue.configure(limit=1, capacity=1)
        first = await queue.submit("echo", timeout=5)
        with pytest.raises(QueueFull):
            await queue.submit("echo", timeout=5)
        await first.cancel()
        async with queue.slot(timeout=5) as lease:
            assert lease.fence
            waiting = asyncio.create_task(_hold(queue))
            await asyncio.sleep(0.1)
        await waiting
        limiter = RateLimiter(queue, "mail", rate=1, burst=1)
        assert (await limiter.take("me")).allowed
        assert not (await limiter.take("me")).allowed
        await queue.pause("lunch")
        await queue.resume()


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1000):
        if await holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 10 s")


async def _drained(queue: Queue) -> bool:
    gauge = await queue.gauge()
    return not gauge["waiting"] + gauge["running"] + gauge["due"]


async def _is(state: Awaitable[str], wanted: str) -> bool:
    return await state == wanted


async def _hold(queue: Queue) -> None:
    async with queue.slot(timeout=5):
        pass


async def test_scripts_that_were_flushed_are_loaded_again(users: Users, queue_name: str) -> None:
    admin = users.server.client()
    async with (
        Queue.from_url(users.url("gateway"), name=queue_name) as queue,
        serving(a_worker(users, queue_name)),
    ):
        for number in range(3):
            admin.script_flush()
            assert await queue.call("echo", number, timeout=10) == number
    done = await asyncio.to_thread(run, "scripts", "load", "--url", users.url("loader"))
    assert done.returncode == 0
