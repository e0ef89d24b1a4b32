"""Deadlines share timers: nothing ends too early, nothing is forgotten, nothing is left behind."""

from __future__ import annotations

import asyncio

from pyclient.deadlines import SLOTS_PER_S, Deadlines
from pyclient.entry import Entry
from pyclient.keys import new_task_id
from pyclient.model import Profile

PROFILE = Profile(3, "r", "", 1000, 1000, 1000, 1, 0)


def entry() -> Entry:
    return Entry(new_task_id(), PROFILE, b"m\xc0")


async def test_each_ends_once_and_not_before_its_time() -> None:
    loop = asyncio.get_running_loop()
    ended: list[tuple[Entry, float]] = []
    deadlines = Deadlines(loop, lambda one: ended.append((one, loop.time())))
    times = {entry(): loop.time() + 0.01 * n for n in range(1, 21)}
    for one, at in times.items():
        deadlines.add(one, at)
    await asyncio.sleep(0.4 + 2 / SLOTS_PER_S)
    assert sorted(one.id for one, _ in ended) == sorted(one.id for one in times)
    assert all(at >= times[one] for one, at in ended)


async def test_what_was_discarded_does_not_end_and_leaves_no_timer() -> None:
    loop = asyncio.get_running_loop()
    ended: list[Entry] = []
    deadlines = Deadlines(loop, ended.append)
    at = loop.time() + 0.05
    first, second, third = entry(), entry(), entry()
    slots = [deadlines.add(one, at) for one in (first, second, third)]
    deadlines.discard(first, slots[0])
    deadlines.discard(third, slots[2])
    await asyncio.sleep(0.1)
    assert ended == [second]
    deadlines.discard(second, slots[1])  # as its waiter does in any case
    lone = entry()
    deadlines.discard(lone, deadlines.add(lone, loop.time() + 60))
    assert not deadlines._slots


async def test_of_those_that_end_together_one_may_take_another_out() -> None:
    loop = asyncio.get_running_loop()
    first, second = entry(), entry()
    slots: dict[Entry, int] = {}
    ended: list[Entry] = []

    def expire(one: Entry) -> None:
        ended.append(one)
        for other, slot in slots.items():
            deadlines.discard(other, slot)

    deadlines = Deadlines(loop, expire)
    at = loop.time() + 0.02
    slots = {one: deadlines.add(one, at) for one in (first, second)}
    await asyncio.sleep(0.1)
    assert set(ended) == {first, second}, "both were late"
