"""Which tasks of one call are refused as `LATE`: those that would be if each came alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.property.actions import Kind
from tests.property.stories import Stories


def measured(line: Stories, ahead: int) -> None:
    """Runs of 50 ms, two at a time while others wait; then one runs and so many wait."""
    line.start("pull", lease_ms=60_000, capacity=0)
    line.attach("g0")
    line.admit("g0", [Kind()] * 60)
    for _ in range(29):
        held = line.claim("w9", 2)
        line.tick(50)
        line.publish("w9", held)
    line.drain()
    line.admit("g0", [Kind()] * (2 + ahead))
    held = line.claim("w9", 2)
    line.tick(50)
    line.publish("w9", held[:1])


def words(line: Stories, ahead: int, kinds: list[Kind], *, together: bool) -> list[bool]:
    """Who is late, of tasks that come in one call or each in its own, at one moment."""
    measured(line, ahead)
    late = []
    calls = [kinds] if together else [[kind] for kind in kinds]
    for call in calls:
        before = set(line.model.tasks)
        ids = [line.new_id() for _ in call]
        line.admit("g0", call, ids=ids)
        late += [name not in line.model.tasks for name in ids]
        assert before <= set(line.model.tasks)
    line.drain()
    return late


@pytest.fixture
def both(line: Stories) -> Callable[[int, list[Kind]], list[bool]]:
    """Both ways, on a queue each."""

    def ask(ahead: int, kinds: list[Kind]) -> list[bool]:
        one = words(Stories(line.client, line.scripts), ahead, kinds, together=True)
        assert one == words(Stories(line.client, line.scripts), ahead, kinds, together=False)
        return one

    return ask


@pytest.mark.parametrize("ahead", [0, 1, 40])
def test_a_call_is_judged_task_by_task(
    both: Callable[[int, list[Kind]], list[bool]], ahead: int
) -> None:
    late = [sum(both(ahead, [Kind(due_ms=due)] * 64)) for due in (1, 700, 1500, 5000, 60_000)]
    assert late[0] >= 63
    assert late[-1] == 0
    assert ahead > 1 or any(0 < count < 64 for count in late), "no call had both"


@pytest.mark.parametrize("seed", range(6))
def test_many_profiles_in_one_call(
    both: Callable[[int, list[Kind]], list[bool]], seed: int
) -> None:
    rng = random.Random(seed)
    kinds = [
        Kind(
            level=rng.choice([3, 3, 5]),
            route=rng.choice(["r0", "r9"]),
            due_ms=rng.choice([0, 40, 400, 1500, 3000, 9000]),
            wait_ms=rng.choice([60_000, 900]),
        )
        for _ in range(6)
    ]
    both(rng.choice([0, 3, 30]), [rng.choice(kinds) for _ in range(60)])
