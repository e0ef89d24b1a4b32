"""Claims that stand: what is leased to them at once, and what never is."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

import pytest

from pyclient import Queue
from pyclient.commands import Commands
from tests.servers import Server
from tests.worker.rig import echo, eventually, line, noting, serving
from tests.worker.standing_rig import calls, is_known_to_stand, once, slots, stands
from worker_app import Context, Worker


async def test_a_lone_task_takes_two_calls(server: Server, queue_name: str) -> None:
    worker = echo(server, queue_name)
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        await queue.call("echo")
        for number in range(5):
            await stands(worker)
            server.client().config_resetstat()
            assert await queue.call("echo", number) == number
            await stands(worker)
            assert calls(server) == {"evalsha": 2, "spublish": 1, "blpop": 0}
        gauge = await queue.gauge()
        assert (gauge["leased"], gauge["done"], gauge["retried"]) == (6, 6, 0)


async def test_a_task_of_one_attempt_is_claimed(server: Server, queue_name: str) -> None:
    worker = echo(server, queue_name)
    attempts: list[int] = []

    @worker.route("once", raw=True)
    async def run_once(payload: bytes, ctx: Context) -> bytes:
        attempts.append(ctx.attempt)
        return payload

    async with line(server, queue_name, worker) as queue:
        await queue.call("echo")
        server.client().config_resetstat()
        for number in range(5):
            await eventually(lambda: slots(worker) > 0)
            assert await once(queue, b"%d" % number) == b"%d" % number
        assert calls(server)["spublish"] == 0
    assert attempts == [1] * 5


@pytest.mark.parametrize("crowd", [1, 4])
async def test_slots_are_never_exceeded(server: Server, queue_name: str, crowd: int) -> None:
    now, most = [0] * crowd, [0] * crowd
    begun: dict[str, list[int]] = {}
    workers = [Worker(queue_name, url=server.url, concurrency=3) for _ in range(crowd)]
    for index, worker in enumerate(workers):

        @worker.route("work", raw=True)
        async def work(payload: Any, ctx: Context, index: int = index) -> bytes:
            now[index] += 1
            most[index] = max(most[index], now[index])
            begun.setdefault(ctx.id, []).append(ctx.attempt)
            await asyncio.sleep(random.choice([0, 0, 0.001, 0.02]))
            now[index] -= 1
            return b"x"

    async def load(queue: Queue, seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            some = [one(queue, dice) for _ in range(dice.choice([1, 1, 1, 2, 5]))]
            await asyncio.gather(*some)
            await asyncio.sleep(dice.choice([0, 0.001, 0.02]))

    async def one(queue: Queue, dice: random.Random) -> None:
        if dice.random() < 0.3:
            await once(queue, b"x", "work")
        else:
            await queue.exchange("work", b"x", wait_ms=20_000, run_ms=20_000, attempts=3)

    async with contextlib.AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(serving(worker))
        queue = await stack.enter_async_context(Queue.from_url(server.url, name=queue_name))
        await asyncio.gather(*(load(queue, seed) for seed in range(5)))
        gauge = await queue.gauge()
        assert calls(server)["spublish"] > 0
    assert gauge["done"] == len(begun)
    assert all(attempts == [1] for attempts in begun.values())
    assert max(most) <= 3


async def test_what_does_not_fit_is_handed_back_uncounted(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More was given than is free: the worker has taken other work since its claim."""
    worker = Worker(queue_name, url=server.url, concurrency=4)
    go_on, attempts = asyncio.Event(), list[int]()

    @worker.route("work")
    async def work(payload: Any, ctx: Context) -> Any:
        attempts.append(ctx.attempt)
        await go_on.wait()
        return payload

    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        assert worker.session is not None
        monkeypatch.setattr(worker.session.desk, "_concurrency", 2)
        tickets = await queue.submit_many("work", range(4))
        await eventually(lambda: len(attempts) == 2)
        await eventually(lambda: not worker.session.desk.back)  # type: ignore[union-attr]
        await asyncio.sleep(0.1)
        gauge = await queue.gauge()
        assert (gauge["running"], gauge["waiting"], gauge["retried"]) == (2, 2, 0)
        go_on.set()
        assert [await one.result(timeout=10) for one in tickets] == [0, 1, 2, 3]
    assert attempts == [1] * 4


async def test_what_is_given_before_the_reply_that_let_it_stand(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, late = Commands.publish, asyncio.Event()

    async def held_up(*args: Any, **named: Any) -> Any:
        reply = await publish(*args, **named)
        await late.wait()
        return reply

    worker = echo(server, queue_name, concurrency=2)
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        monkeypatch.setattr(Commands, "publish", held_up)
        assert worker.session is not None
        caller, standing = worker.session._caller.id, worker.session.loop.standing
        first = await queue.submit("echo", 1)
        await eventually(lambda: standing._given == 1)
        await eventually(lambda: is_known_to_stand(server, queue_name, caller))
        second = await queue.submit("echo", 2)
        await eventually(lambda: standing._given == 2)
        late.set()
        assert [await one.result(timeout=10) for one in (first, second)] == [1, 2]
        await eventually(lambda: is_known_to_stand(server, queue_name, caller), timeout=8)
        await stands(worker)


async def test_more_idle_workers_than_may_stand_all_get_work(
    server: Server, queue_name: str
) -> None:
    go_on, at_work = asyncio.Event(), set[int]()
    workers = [Worker(queue_name, url=server.url, concurrency=1) for _ in range(20)]
    for index, worker in enumerate(workers):

        @worker.route("work")
        async def work(payload: Any, index: int = index) -> None:
            at_work.add(index)
            await go_on.wait()

    async with contextlib.AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(serving(worker))
        queue = await stack.enter_async_context(Queue.from_url(server.url, name=queue_name))
        await stands(*workers)
        tickets = [await queue.submit("work") for _ in range(20)]
        await eventually(lambda: len(at_work) == 20, timeout=10)
        go_on.set()
        for ticket in tickets:
            await ticket.result(timeout=10)
        gauge = await queue.gauge()
        assert (gauge["leased"], gauge["done"]) == (20, 20)


async def test_an_unknown_route_that_is_given_is_handed_back_uncounted(
    server: Server, queue_name: str
) -> None:
    worker = echo(server, queue_name)
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        ticket = await queue.submit("later", 5)
        late = Worker(queue_name, url=server.url)
        attempts = noting(late, "later")
        async with serving(late):
            assert await ticket.result(timeout=10) == 5
        assert attempts == [1]


async def test_a_task_above_its_level_is_not_given(server: Server, queue_name: str) -> None:
    worker = echo(server, queue_name, max_level=2)
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        ticket = await queue.submit("echo", 1, level=3)
        assert await ticket.state() == "waiting"
        await ticket.cancel()
        assert await queue.call("echo", 2, level=2) == 2


async def test_hints_do_not_end_at_workers_that_were_given_work(
    server: Server, queue_name: str
) -> None:
    """They go on waiting for hints, since what was given came another way."""
    go_on, began = asyncio.Event(), list[float]()
    workers = [Worker(queue_name, url=server.url, concurrency=1) for _ in range(9)]
    for worker in workers:

        @worker.route("work", raw=True)
        async def work(payload: Any) -> bytes:
            began.append(time.monotonic())
            await go_on.wait()
            return b"x"

    async with contextlib.AsyncExitStack() as stack:
        for worker in workers[:8]:
            await stack.enter_async_context(serving(worker))
        queue = await stack.enter_async_context(Queue.from_url(server.url, name=queue_name))
        await stands(*workers[:8])
        tickets = [await queue.submit("work") for _ in range(8)]
        await eventually(lambda: len(began) == 8)
        await stack.enter_async_context(serving(workers[8]))
        await stands(workers[8])
        waits = asyncio.create_task(once(queue, b"x", "work"))
        submitted = time.monotonic()
        await eventually(lambda: len(began) == 9)
        assert began[8] - submitted < 1  # eight times a quarter of a second, where each sweeps
        go_on.set()
        await asyncio.gather(waits, *(one.result(timeout=10) for one in tickets))


async def test_what_is_given_while_the_queue_is_looked_at_is_no_sign_of_a_loss(
    server: Server,
    queue_name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gauge, looked = Commands.gauge, asyncio.Event()
    worker = echo(server, queue_name)
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        assert worker.session is not None
        loop, ours = worker.session.loop, worker.session._commands

        async def held_up(self: Commands) -> Any:
            reply = await gauge(self)
            if self is ours:
                ticket = await queue.submit("echo", 1)
                await eventually(lambda: loop.standing._given == 1)
                results.append(ticket.result(timeout=10))
                looked.set()
            return reply

        results: list[Any] = []
        monkeypatch.setattr(Commands, "gauge", held_up)
        loop.recheck = True
        loop.poke()
        await looked.wait()
        assert await results[0] == 1
    assert "lost the state" not in caplog.text
