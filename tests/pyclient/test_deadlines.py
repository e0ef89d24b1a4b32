"""Deadlines share timers: nothing ends too early, nothing is forgotten, nothing is left behind."""

from __future__ import annotations

import asyncio

from pyclient.deadlines import LOOKS_PER_S, Deadlines
from pyclient.entry import Entry
from pyclient.keys import new_task_id
from pyclient.model import Profile
from tests.worker.rig import eventually

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
    await asyncio.sleep(0.4 + 2 / LOOKS_PER_S)
    assert sorted(one.id for one, _ in ended) == sorted(one.id for one in times)
    assert all(at >= times[one] for one, at in ended)


async def test_what_was_discarded_does_not_end_and_leaves_no_timer() -> None:
    loop = asyncio.get_running_loop()
    ended: list[Entry] = []
    deadlines = Deadlines(loop, ended.append)
    at = loop.time() + 0.05
    first, second, third = entry(), entry(), entry()
    for one in (first, second, third):
        deadlines.add(one, at)
    deadlines.discard(first)
    deadlines.discard(third)
    await asyncio.sleep(0.1)
    assert ended == [second]
    deadlines.discard(second)  # as its waiter does in any case
    assert deadlines._timer is None
    lone = entry()
    deadlines.add(lone, loop.time() + 60)
    deadlines.discard(lone)
    assert not deadlines._waiting
    deadlines.close()


async def test_of_those_that_end_together_one_may_take_another_out() -> None:
    loop = asyncio.get_running_loop()
    first, second = entry(), entry()
    ended: list[Entry] = []

    def expire(one: Entry) -> None:
        ended.append(one)
        for other in (first, second):
            deadlines.discard(other)

    deadlines = Deadlines(loop, expire)
    at = loop.time() + 0.02
    deadlines.add(first, at)
    deadlines.add(second, at)
    await asyncio.sleep(0.1)
    assert set(ended) == {first, second}, "both were late"


async def test_a_deadline_that_comes_later_but_ends_sooner_has_its_time() -> None:
    loop = asyncio.get_running_loop()
    ended: list[Entry] = []
    deadlines = Deadlines(loop, ended.append)
    long, short = entry(), entry()
    deadlines.add(long, loop.time() + 60)
    deadlines.add(short, loop.time() + 0.02)
    await eventually(lambda: ended == [short])
    deadlines.add(short, loop.time() + 0.02)
    await eventually(lambda: ended == [short, short])
    deadlines.close()


async def test_nobody_ends_once_it_is_closed() -> None:
    loop = asyncio.get_running_loop()
    ended: list[Entry] = []
    deadlines = Deadlines(loop, ended.append)
    deadlines.add(entry(), loop.time() + 0.02)
    deadlines.close()
    await asyncio.sleep(0.1)
    assert ended == []
