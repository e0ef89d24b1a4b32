"""What an owner that was not heard of for a lease has not read, by the server's own clock."""

from __future__ import annotations

import time
from typing import Any

from tests.property.snapshot import text

from .rig import Rig, leases_of, task_id


def outlast_owner(rig: Rig) -> None:
    """Sweep until the last task of `g0` is taken out of the line, its owner being gone."""
    until = time.monotonic() + 10
    while rig.client.hlen(rig.prefix + "tasks"):
        assert time.monotonic() < until, "the owner still counts as alive"
        rig.call("sweep")
        time.sleep(0.02)


def test_an_answer_outlives_the_lease_in_which_it_could_not_be_read(rig: Rig) -> None:
    rig.configure(lease_ms=1000, limit=1)
    _, _, _, last, _ = rig.call("attach", "g0")
    done, waiting = task_id(1), task_id(2)
    rig.admit([done, waiting])
    rig.publish(leases_of(rig.claim(1)[3]))
    outlast_owner(rig)
    assert rig.call("attach", "g0")[1] == 0, "the inbox was made anew: its answers are lost"
    entries: Any = rig.client.xrange(rig.prefix + "inbox:g0", "(" + text(last))
    pairs = [(text(name), value) for _, fields in entries for name, value in fields.items()]
    assert pairs == [(done, b"done\ny"), (waiting, b"cancelled\nthe owner is gone")]


def test_an_owner_that_comes_back_is_alive_again(rig: Rig) -> None:
    rig.configure(lease_ms=1000)
    rig.call("attach", "g0")
    rig.admit([task_id(1)])
    outlast_owner(rig)
    assert rig.admit([task_id(2)])[3] == [b"NOINBOX"]
    rig.call("attach", "g0")
    assert rig.admit([task_id(2)])[3] == [b"OK"]
