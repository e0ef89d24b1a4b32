"""A worker of a queue with shards: it serves all of them, with the slots that it has."""

from __future__ import annotations

import asyncio
import time

import pytest

from pyclient import Queue, Unavailable
from pyclient.shards import home_of, shard_of
from tests.servers import Server
from tests.worker.rig import eventually, serving
from worker_app import Context, Worker

N = 3


async def test_all_shards_are_served_within_the_slots_of_the_process(
    server: Server, queue_name: str
) -> None:
    now = most = 0
    seen: list[str] = []
    worker = Worker(queue_name, url=server.url, shards=N, concurrency=5)

    @worker.route("echo")
    async def echo(payload: int, ctx: Context) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        seen.append(ctx.id)
        await asyncio.sleep(0.002)
        now -= 1
        return payload

    async with Queue.from_url(server.url, name=queue_name, shards=N) as queue, serving(worker):
        assert await asyncio.gather(*(queue.call("echo", n) for n in range(120))) == [*range(120)]
        assert {shard_of(one, N) for one in seen} == {0, 1, 2}
        assert len(seen) == len(set(seen)) == 120
        assert most == 5


async def test_one_slot_walks_over_all_shards(server: Server, queue_name: str) -> None:
    """A shard that always has work must not keep the others waiting."""
    order: list[int] = []
    worker = Worker(queue_name, url=server.url, shards=N, concurrency=1)

    @worker.route("step")
    async def step(payload: int, ctx: Context) -> None:
        order.append(shard_of(ctx.id, N))
        await asyncio.sleep(0.001)

    async with Queue.from_url(server.url, name=queue_name, shards=N) as queue:
        tickets = await queue.submit_many("step", range(90))
        async with serving(worker):
            for ticket in tickets:
                await ticket.result(timeout=20)
    third = order[:30]
    assert min(third.count(shard) for shard in range(N)) >= 5


async def test_a_shard_that_fills_later_is_soon_served(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url, shards=2, concurrency=1)

    @worker.route("busy")
    async def busy(payload: object) -> None:
        await asyncio.sleep(0.01)

    other = next(f"r{n}" for n in range(99) if home_of(f"r{n}", 2) != home_of("busy", 2))

    @worker.route(other)
    async def quick(payload: object) -> float:
        return time.monotonic()

    async with Queue.from_url(server.url, name=queue_name, shards=2) as queue, serving(worker):
        await queue.configure(concurrency={"busy": 1, other: 1})
        await queue.call("busy")
        tickets = await queue.submit_many("busy", range(100))
        begun = time.monotonic()
        assert await queue.call(other, timeout=5) - begun < 0.7
        for ticket in tickets:
            await ticket.cancel()


@pytest.mark.leaves_keys("*")
async def test_a_shard_that_does_not_answer_keeps_no_slot_from_the_others(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(queue_name, url=server.url, shards=2, concurrency=1)
    home = next(f"r{n}" for n in range(99) if home_of(f"r{n}", 2) == 0)

    @worker.route(home)
    async def echo(payload: int) -> int:
        return payload

    async def away(*args: object, **options: object) -> None:
        asked.set()
        await asyncio.sleep(0.5)
        raise Unavailable("away")

    asked = asyncio.Event()
    async with Queue.from_url(server.url, name=queue_name, shards=2) as queue, serving(worker):
        await queue.configure(concurrency={home: 1})  # so it is pinned to shard 0
        assert await queue.call(home, 0, timeout=10) == 0
        lost = worker._sessions[1].loop
        for verb in ("gauge", "claim", "publish", "retry"):
            monkeypatch.setattr(lost._commands, verb, away)
        worker._sessions[1]._reconnected()
        await asked.wait()
        for n in range(3):
            assert await queue.call(home, n, timeout=15) == n
        monkeypatch.undo()


@pytest.mark.leaves_keys("*")
async def test_limits_of_routes_are_announced_split_and_pinned(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url, shards=2)

    @worker.route("one", concurrency=1)
    @worker.route("many", concurrency=9)
    async def work(payload: object) -> None:
        return None

    async with Queue.from_url(server.url, name=queue_name, shards=2) as queue, serving(worker):
        client = server.client(protocol=2)
        await eventually(
            lambda: (
                [client.hget(f"peak:{{{queue_name}/{n}}}:conf", "cap:many") for n in (0, 1)]
                == [b"5", b"4"]
            )
        )
        await queue.call("one", timeout=5)
        assert {shard_of(queue.new_id("one"), 2) for _ in range(9)} == {home_of("one", 2)}
