"""Claim order is a sort: by `tick + level * level_step`, lower level first, routes that are full
left out."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.property.actions import Kind
from tests.property.model import STRICT
from tests.property.stories import Stories

STEPS = {"0": 0, "700": 700_000, "strict": STRICT}


def fill(line: Stories, rng: random.Random, count: int, routes: list[str]) -> None:
    """Admit in batches of up to 40, time passing between."""
    while count > 0:
        size = min(count, rng.randint(1, 40))
        batch = [Kind(level=rng.randint(0, 9), route=rng.choice(routes)) for _ in range(size)]
        line.admit("g0", batch)
        line.tick(rng.choice([0, 1, 300, 900]))
        count -= size


@pytest.mark.parametrize("step", sorted(STEPS))
@pytest.mark.parametrize("seed", [1, 2])
def test_claims_come_in_the_order_of_the_sort(line: Stories, step: str, seed: int) -> None:
    rng = random.Random(seed)
    line.start("pull", lease_ms=60_000, capacity=0, level_step_ms=step)
    line.attach("g0")
    fill(line, rng, 200, ["a", "b"])
    tasks = line.model.tasks
    wanted = sorted(
        tasks, key=lambda i: (tasks[i].tick + tasks[i].level * STEPS[step], tasks[i].level)
    )
    got: list[str] = []
    while len(got) < len(wanted):
        got += [name for name, _ in line.claim("w9", rng.randint(1, 64))]
    assert got == wanted


@pytest.mark.parametrize("step", sorted(STEPS))
def test_routes_at_their_limit_are_passed_over(line: Stories, step: str) -> None:
    """Each claim is compared with the sort by the model; slots come free at random."""
    rng = random.Random(7)
    line.start("pull", lease_ms=60_000, capacity=0, level_step_ms=step, limit=12)
    line.configure(concurrency__a=1, concurrency__b=3, concurrency__c=2)
    line.attach("g0")
    fill(line, rng, 120, ["a", "b", "c", "d"])
    done = 0
    while done < 120:
        line.claim("w9", rng.randint(1, 20))
        held = line.leases_of("w9")
        some = rng.sample(held, rng.randint(1, len(held)))
        line.publish("w9", some, limit=rng.choice([0, 3]))
        done += len(some)
    assert line.seen["passed a full route"] > 50


@pytest.mark.parametrize("seed", range(6))
def test_lanes_of_capped_routes_come_as_one_line(line: Stories, seed: int) -> None:
    """Claims of many from few lanes, of one level: late tasks, an owner that dies, limits that are
    met in the middle of a claim. The model compares each claim with the sort."""
    rng = random.Random(seed)
    routes = [f"r{n}" for n in range(2 + seed)]
    limits = {f"concurrency__{route}": rng.choice([2, 5, 12, 40]) for route in routes}
    routes += ["free"] * (seed % 2)
    line.start("pull", lease_ms=60_000, capacity=0, **limits)
    line.attach("g0")
    line.attach("g1")
    done = 0
    for turn in range(60):
        waits = rng.choices([60_000, 120], [4, 1], k=rng.randint(1, 40))
        batch = [Kind(route=rng.choice(routes), wait_ms=wait) for wait in waits]
        line.admit("g0" if turn > 30 else rng.choice(["g0", "g1"]), batch)
        line.tick(rng.choice([0, 1, 60, 130, 130, 400]))  # no sweep within 250 ms of the last
        if turn == 30:
            line.sweep()
            line.delete_inbox("g1")
        line.claim("w9", rng.randint(1, 64))
        held = line.leases_of("w9")
        some = rng.sample(held, min(64, rng.randint(0, len(held))))
        if some:
            line.publish("w9", some, limit=rng.choice([0, 3, 20, 64]))
            done += len(some)
        if turn % 20 == 19:
            line.configure(**{f"concurrency__r{rng.randrange(2 + seed)}": rng.choice([1, 9, 30])})
    assert done > 200


def test_two_tasks_of_one_tick_are_no_error(line: Stories) -> None:
    """Half of a queue was restored over the other: each is served once all the same."""
    line.start("pull", lease_ms=60_000, capacity=0, concurrency__r0=9, concurrency__r1=9)
    line.attach("g0")
    line.admit("g0", [Kind(route="r0"), Kind(route="r1"), Kind(route="r1"), Kind(route="r0")])
    tick = line.model.tasks[f"t{1:021d}"].tick
    for route, number in (("r1", 2), ("r0", 4)):
        line.client.zadd(f"peak:{{t}}:wait:3:{route}", {f"t{number:021d}": tick + 2})
    found = [name for _ in range(4) for name in line.raw("claim", "w9", 0, 64, 9)[3][::8]]
    assert sorted(found) == [f"t{number:021d}".encode() for number in range(1, 5)]
    pairs = line.raw("gauge")[1]
    routes = pairs[pairs.index(b"routes") + 1]
    assert dict(zip(routes[::4], routes[2::4], strict=True)) == {b"r0": 2, b"r1": 2}


def test_a_worker_for_urgent_levels_takes_no_other(line: Stories) -> None:
    line.start("pull", lease_ms=60_000, level_step_ms=0)
    line.attach("g0")
    line.admit("g0", [Kind(level=n % 10) for n in range(40)])
    got: Counter[int] = Counter()
    for name, _ in line.claim("w3", 64, 3):
        got[line.model.tasks[name].level] += 1
    assert got == {0: 4, 1: 4, 2: 4, 3: 4}


@pytest.mark.parametrize("mode", ["pull", "hold"])
def test_a_tie_goes_to_the_lower_level(line: Stories, mode: str) -> None:
    """Level 1 at t and level 0 at t + step have the same key."""
    line.start(mode, lease_ms=60_000, level_step_ms=50, limit=1)
    line.attach("g0")
    line.admit("g0", [Kind(level=9)])
    first: Any = line.model.tasks[f"t{1:021d}"]
    if mode == "pull":
        line.claim("w9", 1)
    line.admit("g0", [Kind(level=1)])
    later = line.model.tasks[f"t{2:021d}"]
    wait = (later.tick + 50_000) - line.now_ms * 1000
    line.tick(wait // 1000)
    line.client.set("peak:{t}:testclock", later.tick + 50_000)
    line.admit("g0", [Kind(level=0)])
    assert line.model.tasks[f"t{3:021d}"].tick == later.tick + 50_000
    line.publish(first.worker, [(first.id, first.fence)], limit=1)
    assert line.model.tasks[f"t{3:021d}"].state == "running"


def test_a_retry_keeps_its_place(line: Stories) -> None:
    line.start("pull", lease_ms=60_000)
    line.attach("g0")
    line.admit("g0", [Kind(), Kind(), Kind()])
    leases = line.claim("w9", 2)
    line.retry("w9", leases)
    assert [name for name, _ in line.claim("w9", 3)] == [f"t{n:021d}" for n in (1, 2, 3)]
