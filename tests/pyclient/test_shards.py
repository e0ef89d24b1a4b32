"""A queue in shards: ids say theirs, limits are split, and all verbs work over all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyclient import Queue, SyncQueue, spread
from pyclient.connection import Connection
from pyclient.errors import ConfigError, QueueClosed, QueueFull, TaskFailed, Unavailable
from pyclient.keys import check_id
from pyclient.shards import home_of, id_in, merged, pinned, shard_of, split, split_routes
from tests.pyclient.client_rig import TinyWorker
from tests.servers import Server

N = 4


@given(st.integers(1, 64), st.data())
def test_an_id_belongs_to_the_shard_that_it_was_drawn_for(count: int, data: st.DataObject) -> None:
    shard = data.draw(st.integers(0, count - 1))
    task_id = check_id(id_in(shard, count))
    assert shard_of(task_id, count) == shard


@given(st.integers(0, 10**6), st.integers(1, 64))
def test_parts_add_up_and_none_is_empty(whole: int, count: int) -> None:
    if 0 < whole < count:
        with pytest.raises(ConfigError, match="at least the number of shards"):
            split("limit", whole, count)
        return
    parts = split("limit", whole, count)
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1
    assert (min(parts) > 0) == (whole > 0)


def test_a_route_with_less_than_a_slot_a_shard_stays_in_one() -> None:
    wholes = {"concurrency few": 3, "room few": 100, "concurrency many": 6, "concurrency no": 0}
    assert pinned(wholes, N) == {"few"}
    parts = split_routes(wholes, N)
    home = home_of("few", N)
    assert [part["concurrency few"] for part in parts] == [
        3 if shard == home else 1 for shard in range(N)
    ]
    assert parts[home]["room few"] == 100
    assert sorted(int(part["concurrency many"]) for part in parts) == [1, 1, 2, 2]
    assert {part["concurrency no"] for part in parts} == {0}


def test_gauges_add_up() -> None:
    one = {
        "waiting": 2, "oldest_ms": 5, "claimed_ms": -1, "gap_us": 100, "state": "open",
        "reason": "", "levels": [1, 2], "routes": {"r": {"living": 1, "running": 1, "parked": "3"}},
    }  # fmt: skip
    two = {**one, "waiting": 3, "oldest_ms": 9, "claimed_ms": 7, "state": "paused", "reason": "x"}
    whole = merged([one, two])
    assert (whole["waiting"], whole["oldest_ms"], whole["claimed_ms"]) == (5, 9, 7)
    assert (whole["gap_us"], whole["state"], whole["reason"]) == (50, "mixed", "x")
    assert (whole["levels"], whole["shards"]) == ([2, 4], [one, two])
    assert whole["routes"] == {"r": {"living": 2, "running": 2, "parked": "3"}}


@pytest.mark.parametrize("shards", [0, 65, True, 2.0])
def test_a_wrong_number_of_shards_is_refused(shards: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 64"):
        Queue.from_url("redis://h", shards=shards)


def test_names_leave_room_for_the_number() -> None:
    with pytest.raises(ConfigError, match="at most 56"):
        Queue.from_url("redis://h", name="q" * 57, shards=2)


@contextlib.asynccontextmanager
async def served(server: Server, name: str) -> AsyncIterator[tuple[Queue, list[TinyWorker]]]:
    """A queue of four shards, each with a tiny worker."""
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(TinyWorker(server.url, f"{name}/{shard}"))
            for shard in range(N)
        ]
        queue = Queue.from_url(server.url, name=name, shards=N)
        yield await stack.enter_async_context(queue), workers


async def test_calls_reach_all_shards_evenly(server: Server, queue_name: str) -> None:
    async with served(server, queue_name) as (queue, workers):
        answers = await asyncio.gather(*(queue.call("echo", n) for n in range(200)))
        assert answers == list(range(200))
        seen = [len(worker.seen) for worker in workers]
        assert sum(seen) == 200
        assert min(seen) > 30
        for shard, worker in enumerate(workers):
            assert {shard_of(task.id, N) for task in worker.seen} == {shard}


async def test_tickets_are_found_by_their_ids(server: Server, queue_name: str) -> None:
    async with served(server, queue_name) as (queue, _):
        tickets = await queue.submit_many("echo", range(20), keep=10)
        assert len({shard_of(one.id, N) for one in tickets}) > 1
        for number, ticket in enumerate(tickets):
            assert await (await queue.attach(ticket.id)).result(timeout=5) == number
        one = await queue.submit("echo", "x", keep=10)
        assert await one.result(timeout=5) == "x"


async def test_an_idempotency_key_meets_itself(server: Server, queue_name: str) -> None:
    async with served(server, queue_name) as (queue, workers):
        other = Queue.from_url(server.url, name=queue_name, shards=N)
        async with other:
            calls = [q.call("echo", 7, key=f"k{n}") for n in range(8) for q in (queue, other)]
            assert await asyncio.gather(*calls) == [7] * 16
        assert sum(len(worker.seen) for worker in workers) == 8


async def test_without_shard_0_each_route_goes_home(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> dict[str, int]:
        raise Unavailable("away")

    monkeypatch.setattr(spread, "read_wholes", away)
    async with served(server, queue_name) as (queue, workers):
        assert await asyncio.gather(*(queue.call("echo", n) for n in range(20))) == [*range(20)]
        assert len(workers[home_of("echo", N)].seen) == 20
        with pytest.raises(Unavailable):
            await queue.call("echo", 1, key="k")


@pytest.mark.leaves_keys("*")
async def test_a_pinned_route_has_one_home(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name, shards=N) as queue:
        await queue.configure(concurrency={"few": 2, "many": 8}, room={"few": 50})
        tickets = await queue.submit_many("few", range(20))
        assert {shard_of(one.id, N) for one in tickets} == {home_of("few", N)}
        assert len({shard_of(one.id, N) for one in await queue.submit_many("many", range(20))}) > 1
        await queue.configure(concurrency={"few": 0}, room={"few": 0})
        assert len({shard_of(one.id, N) for one in await queue.submit_many("few", range(20))}) > 1


@pytest.mark.leaves_keys("*")
async def test_limits_of_the_queue_are_split(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name, shards=N) as queue:
        await queue.configure(limit=10, capacity=40, lease=5)
        gauge = await queue.gauge()
        assert (gauge["limit"], gauge["capacity"], gauge["lease_ms"]) == (10, 40, 5000)
        assert sorted(one["limit"] for one in gauge["shards"]) == [2, 2, 3, 3]
        with pytest.raises(ConfigError, match="limit is 3, expected at least the number of shards"):
            await queue.configure(limit=3)
        full = 0
        for n in range(60):
            try:
                await queue.submit("echo", n)
            except QueueFull:
                full += 1
        assert (await queue.gauge())["waiting"] == 60 - full
        assert 20 <= full <= 30


async def test_states_hold_for_all_shards(server: Server, queue_name: str) -> None:
    async with served(server, queue_name) as (queue, _):
        await queue.close("maintenance")
        for _ in range(8):
            with pytest.raises(QueueClosed, match="maintenance"):
                await queue.call("echo", 1)
        await queue.resume()
        assert await queue.call("echo", 1) == 1
        await queue.pause()
        assert {one["state"] for one in (await queue.gauge())["shards"]} == {"paused"}
        await queue.resume()


async def test_slots_are_given_in_every_shard(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name, shards=N) as queue:
        await queue.configure(slots=8)
        inside = most = 0
        ids = Counter[int]()

        async def hold() -> None:
            nonlocal inside, most
            async with queue.slot("db") as lease:
                ids[shard_of(lease.id, N)] += 1
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.02)
                inside -= 1

        await hold()
        await asyncio.gather(*(hold() for _ in range(40)))
        assert 4 <= most <= 8
        assert len(ids) == N


async def test_a_letter_is_revived_in_its_shard(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name, shards=N) as queue:
        with pytest.raises(ConfigError, match="no dead letter"):
            await queue.revive(id_in(3, N))
        ticket = await queue.attach(id_in(2, N))
        assert await ticket.state() == "gone"


async def test_errors_are_those_of_the_task(server: Server, queue_name: str) -> None:
    def fail(payload: object) -> object:
        raise ValueError("x")

    async with contextlib.AsyncExitStack() as stack:
        for shard in range(2):
            worker = TinyWorker(server.url, f"{queue_name}/{shard}", fail)
            await stack.enter_async_context(worker)
        queue = Queue.from_url(server.url, name=queue_name, shards=2)
        await stack.enter_async_context(queue)
        with pytest.raises(TaskFailed):
            await queue.call("echo", 1)


def test_slots_are_taken_from_threads_too(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_LOADS_S", 0.0)
    with SyncQueue.from_url(server.url, name=queue_name, shards=N) as queue:
        for _ in range(5):
            with queue.slot() as lease:
                assert lease.fence
        assert queue.gauge(slots=True)["running"] == 0


async def test_closed_while_its_first_slot_comes_it_forgets_who_was_to_keep_it(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue.from_url(server.url, name=queue_name, shards=N)
    learn = spread.Spread.learn

    async def learn_and_close(self: spread.Spread, conn: Connection, *, must: bool = False) -> None:
        await learn(self, conn, must=must)
        await queue.aclose()

    with monkeypatch.context() as patch:
        patch.setattr(spread.Spread, "learn", learn_and_close)
        with pytest.raises(Unavailable, match="was closed"):
            await queue.slot().__aenter__()
    assert queue._engine._holds == {}
    async with queue, queue.slot():
        assert len(queue._engine._jobs) == 2
