"""What comes in a batch is kept as a table, and nothing is left of how that was brought about."""

from __future__ import annotations

from typing import Any

import pytest

from tests.property.snapshot import text

from .rig import Rig, leases_of, task_id


def members(rig: Rig, key: str) -> set[str]:
    name = rig.prefix + key
    every: Any = rig.client.hkeys(name) if key == "run" else rig.client.zrange(name, 0, -1)
    return {text(one) for one in every}


def encoding(rig: Rig, key: str) -> str:
    return text(rig.client.object("encoding", rig.prefix + key))


@pytest.mark.parametrize("count", [15, 16, 64])
def test_only_the_tasks_of_a_batch_are_kept(rig: Rig, count: int) -> None:
    ids = [task_id(number) for number in range(count)]
    rig.call("attach", "g0")
    rig.admit(ids)
    assert members(rig, "wait:3") == set(ids)
    leased = rig.claim(64)[3]
    for key in ("leases", "run"):
        assert members(rig, key) == set(ids), key
    rig.publish(leases_of(leased))
    assert not rig.client.exists(*(rig.prefix + key for key in ("wait:3", "leases", "run")))


def test_a_batch_makes_tables_and_a_single_task_none(rig: Rig) -> None:
    rig.call("attach", "g0")
    for count, kinds in ((1, ("listpack", "listpack")), (16, ("skiplist", "hashtable"))):
        rig.admit([task_id(100 * count + number) for number in range(count)])
        waiting = encoding(rig, "wait:3")
        leased = rig.claim(64)[3]
        assert (waiting, encoding(rig, "run")) == kinds
        assert encoding(rig, "leases") == waiting
        rig.publish(leases_of(leased))
