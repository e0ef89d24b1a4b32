"""A full server: nothing is let in, and everything drains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.property.driver import Arg

from .rig import Rig, leases_of, task_id


@pytest.fixture
def full(rig: Rig) -> Iterator[Rig]:
    """A queue of 200 tasks of 4,000 bytes, 20 of them running, on a server without memory."""
    rig.call("attach", "g0")
    rig.many(200, body="x" * 4000, attempts=2)
    rig.numbered("place", "g0", "pull", "take", task_id(900), "r0", 3)
    rig.held = leases_of(rig.claim(20)[3])  # type: ignore[attr-defined]
    rig.client.config_set("maxmemory", 1_000_000)
    yield rig
    rig.client.config_set("maxmemory", 0)


def refused(rig: Rig, verb: str, *args: Any) -> None:
    before = rig.digest()
    with pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
        rig.call(verb, *args)
    assert rig.digest() == before


def test_what_lets_in_is_refused_whole(full: Rig) -> None:
    profile = [3, "r0", "", 1000, 1000, 0, 1, 0, ""]
    rows = [part for n in range(500, 510) for part in (1, task_id(n), "x")]
    refused(full, "admit", "g0", 50, "pull", 0, 0, 1, *profile, *rows)
    refused(full, "configure", "limit", 7)
    refused(full, "limit", "b", 1, 1000, 1, 1)


def test_the_rest_goes_on(full: Rig) -> None:
    held: list[tuple[str, int]] = full.held  # type: ignore[attr-defined]
    assert full.call("renew", "w9", *[p for lease in held[:2] for p in lease])[2] == [b"OK"] * 2
    row: list[Arg] = [*held[0], 0, 1, "later"]
    assert full.numbered("retry", "w9", *row)[3] == [b"WAITING"]
    row = [*held[1], 500, 1, "later"]
    assert full.numbered("retry", "w9", *row)[3] == [b"DUE"]
    assert full.numbered("cancel", "g0", "expired", held[1][0], held[2][0])[3] == [
        b"CANCELLED",
        b"TOLD",
    ]
    assert full.call("attach", "g0")[0] == b"OK"  # else its owner would count as gone
    assert full.call("sweep")[0] == b"OK"
    assert full.call("fetch", "state", task_id(199))[1] == [b"waiting"]
    assert full.call("gauge")[0] == b"OK"


def test_the_queue_drains_to_nothing(full: Rig) -> None:
    leases: list[tuple[str, int]] = full.held  # type: ignore[attr-defined]
    done = 0
    while leases:
        reply = full.publish(leases, limit=64)
        assert set(reply[3]) == {b"OK"}
        done += len(leases)
        leases = leases_of(reply[4])
    assert done == 200
    assert full.client.hlen(full.prefix + "tasks") == 0
    assert full.client.xlen(full.prefix + "inbox:g0") > 1
