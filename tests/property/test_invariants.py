"""Each invariant fires: a queue is damaged in one place, and the sentence that names it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import redis

from pyclient.cli.audit.invariants import find
from pyclient.cli.audit.reading import Bounds, Reader
from pyclient.connection import Connection
from tests.servers import Server

from . import invariants
from .actions import Kind
from .driver import PREFIX, scripts_with_test_clock
from .snapshot import Snapshot, dump
from .stories import Stories

Damage = Callable[[redis.Redis], object]
W, D, R = (f"t{n:021d}" for n in (2, 3, 1))


@pytest.fixture
def queue(server: Server) -> Iterator[Stories]:
    """One task runs, one is due, three wait, one of them in a parked lane; a place is open."""
    line = Stories(server.client(), scripts_with_test_clock())
    line.start("pull", lease_ms=60_000, concurrency__r1=1)
    line.attach("g0")
    line.claim("w9", 1)
    line.admit("g0", [Kind(route="r1"), Kind(), Kind(level=1), Kind(route="r1"), Kind(route="r0")])
    held = dict(line.claim("w9", 2))
    line.retry("w9", [(D, held[D])], delay_ms=1000)
    line.place("g0", "take", line.new_id(), "r0")
    yield line
    line.client.flushall()


def _retype(client: redis.Redis) -> None:
    client.delete(PREFIX + "places")
    client.set(PREFIX + "places", "x")


def _stand(slots: int, level: int, times: int) -> Damage:
    """A claim of the caller `w`, behind the clock."""
    text = bytes((slots, level)) + bytes(6) + b"\1w"
    return lambda c: c.append(PREFIX + "clock", text * times)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "a task nowhere in line": (lambda c: c.zrem(PREFIX + "wait:3", W), "a task nowhere in line"),
    "in line but no task": (lambda c: c.hdel(PREFIX + "tasks", W), "in line but no task"),
    "twice in line": (lambda c: c.zadd(PREFIX + "due", {W: 1}), "waits and is due"),
    "in two lanes": (lambda c: c.zadd(PREFIX + "wait:5", {W: 1}), "waits in 2 lanes"),
    "a wrong tick": (lambda c: c.zincrby(PREFIX + "wait:3", 1, W), "its header says"),
    "a lease without a record": (lambda c: c.hdel(PREFIX + "run", R), "only one of run and leases"),
    "a lease for ever": (lambda c: c.zadd(PREFIX + "leases", {R: 2**50}), "hard deadline"),
    "a lane nobody looks at": (lambda c: c.zrem(PREFIX + "ready:3", "*"), "not parked"),
    "a wrong head": (lambda c: c.zadd(PREFIX + "ready:3", {"*": 1}), "its head has"),
    "an empty lane": (lambda c: c.zadd(PREFIX + "ready:4", {"*": 1}), "an empty lane"),
    "a level not in use": (lambda c: c.zadd(PREFIX + "ready:8", {"x": 1}), "levels in use"),
    "a leaked count": (
        lambda c: c.hset(PREFIX + "routes", "x", b"\0\0\0\1\0\0\0\0"),
        "a recount gives",
    ),
    "a forgotten lane": (
        lambda c: c.hset(PREFIX + "routes", "r1", b"\0\0\0\2\0\0\0\1"),
        "not parked",
    ),
    "a slot that nobody takes": (
        lambda c: c.hset(PREFIX + "conf", "cap:r1", "2"),
        "parked and its route has a free slot",
    ),
    "a key for ever": (lambda c: c.set(PREFIX + "result:x", "y"), "has no TTL"),
    "a strange key": (lambda c: c.set(PREFIX + "what", "y"), "no key of the layout"),
    "a lane not listed": (lambda c: c.delete(PREFIX + "lanes"), "is not listed in lanes"),
    "an empty lane listed": (lambda c: c.zadd(PREFIX + "lanes", {"wait:7:z": 0}), "and is empty"),
    "half a record": (lambda c: c.hset(PREFIX + "run", R, b"\1\2"), "ends after 2 bytes"),
    "half a clock": (lambda c: c.set(PREFIX + "clock", b"\1"), "ends after 1 bytes"),
    "half a claim that stands": (lambda c: c.append(PREFIX + "clock", b"\1"), "record ends after"),
    "too many claims stand": (_stand(1, 9, 17), "17 claims stand"),
    "a caller stands twice": (_stand(1, 9, 2), "2 claims of w stand"),
    "a claim for nothing": (_stand(0, 9, 1), "stands for 0 slots"),
    "a claim for no level": (_stand(1, 10, 1), "of levels up to 10"),
    "a key of another type": (_retype, "is a string, expected a zset"),
    "too many hints": (lambda c: c.rpush(PREFIX + "wake:9", 1, 1, 1), "hints"),
    "too many attempts": (
        lambda c: c.hset(PREFIX + "tasks", W, _tried(c)),
        "is at attempt",
    ),
}


def _tried(client: redis.Redis) -> bytes:
    data = client.hget(PREFIX + "tasks", W)
    assert isinstance(data, bytes)
    return data[:2] + b"\xff" + data[3:]


def test_a_sound_queue_has_no_violations(queue: Stories) -> None:
    queue.client.delete(PREFIX + "testclock")
    assert invariants.check(queue.client, PREFIX) == []


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damage_is_named(queue: Stories, name: str) -> None:
    damage, sentence = DAMAGES[name]
    damage(queue.client)
    said = [line for line in invariants.check(queue.client, PREFIX) if sentence in line]
    assert said, invariants.check(queue.client, PREFIX)


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(small=0)])
def test_the_doctor_reads_what_a_dump_reads(server: Server, queue: Stories, bounds: Bounds) -> None:
    queue.client.delete(PREFIX + "testclock")
    fast = dump(queue.client, PREFIX)
    slow = asyncio.run(_read(server.url, bounds, list(fast.names())))
    assert (slow.hashes, slow.zsets) == (fast.hashes, fast.zsets)
    assert slow.strings == {"clock": fast.strings["clock"]}
    assert slow.kinds == fast.kinds
    assert slow.ttl.keys() == fast.ttl.keys()
    assert find(slow) == find(fast) == []


async def _read(url: str, bounds: Bounds, names: list[str]) -> Snapshot:
    conn = Connection(url)
    await conn.open()
    try:
        return await Reader(conn, PREFIX.encode(), bounds).read(names)
    finally:
        await conn.aclose()


def test_what_is_left_over_is_named(queue: Stories) -> None:
    left = invariants.left_over(dump(queue.client, PREFIX))
    assert {"tasks", "leases", "run", "due", "routes", "places"} <= set(left)
