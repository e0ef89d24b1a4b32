"""What a state machine with three lanes can't see: a thousand of everything, in bounded calls.

Nothing is timed: calls are counted, and the inner commands of each (commandstats)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.property.driver import START_MS, scripts_with_test_clock
from tests.property.snapshot import text
from tests.servers import Server

from .rig import Rig, leases_of

# No call may send Redis more commands than this, whatever stands in the queue.
INNER = 800


class Counted(Rig):
    """Counts calls, and the inner commands of the largest."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.client(), scripts_with_test_clock())
        self.calls, self.most, self.made = 0, 0, 0
        self.tick(START_MS)

    def tick(self, ms: int) -> None:
        """Move the clock."""
        self.client.incrby(self.prefix + "testclock", ms * 1000)

    def inner(self) -> int:
        """Commands that the server has run for scripts and others, all together."""
        stats = self.client.info("commandstats")
        own = {"cmdstat_info", "cmdstat_evalsha"}
        return sum(int(row["calls"]) for name, row in stats.items() if name not in own)

    def counted(self, verb: str, *args: Any) -> Any:
        """One call, counted and bounded."""
        before = self.inner()
        reply = self.call(verb, *args) if verb == "sweep" else self.numbered(verb, *args)
        spent = self.inner() - before
        self.calls += 1
        self.most = max(self.most, spent)
        assert spent <= INNER, f"{verb} sent {spent} commands"
        return reply

    def sweep_all(self, limit: int) -> int:
        """Sweep while it says `more`; how many calls that took."""
        for n in range(1, limit + 1):
            if not int(self.counted("sweep")[2]):
                return n
        raise AssertionError(f"still more after {limit} sweeps")


@pytest.fixture
def big(server: Server) -> Any:
    """An empty queue without bounds of its own."""
    rig = Counted(server)
    rig.configure(capacity=0, lease_ms=3_600_000)
    rig.call("attach", "g0")
    yield rig
    server.client().flushall()


def caps(rig: Rig, names: list[str], value: int) -> None:
    """A concurrency for each route."""
    for at in range(0, len(names), 64):
        part = names[at : at + 64]
        rig.call("configure", *[p for n in part for p in (f"concurrency {n}", value)])


def claim_all(rig: Counted, limit: int) -> int:
    """Claim 64 at a time until nothing can be leased; how many calls."""
    for n in range(1, limit + 1):
        reply = rig.counted("claim", "w9", 64, 9)
        if not int(reply[2]) and len(reply[3]) < 8 * 64:
            return n
    raise AssertionError(f"still more after {limit} claims")


def test_a_thousand_waiters_of_a_full_route_hide_nobody(big: Counted) -> None:
    """One capped route with a backlog: what stands behind it is found by the first claim."""
    caps(big, ["slow"], 1)
    big.many(1000, route="slow")
    [behind] = big.many(1)
    first = leases_of(big.counted("claim", "w9", 2, 9)[3])
    assert [name for name, _ in first][1:] == [behind]
    for _ in range(50):
        lease = first.pop(0)
        reply = big.counted("publish", "w9", 1, 9, *lease, "done", "")
        first = leases_of(reply[4]) or first
    assert big.most < 60, big.most


def test_a_thousand_lanes_drain_in_as_many_calls_as_tasks_fill(big: Counted) -> None:
    names = [f"r{n:04d}" for n in range(1000)]
    caps(big, names, 1)
    for n, name in enumerate(names):
        big.admit([f"a{n:021d}", f"b{n:021d}"], route=name)
    leases: list[tuple[str, int]] = []
    while len(leases) < 1000:
        reply = big.counted("claim", "w9", 64, 9)
        assert reply[3], f"nothing after {big.calls} claims"
        leases += leases_of(reply[3])
    assert big.calls <= 1000 // 64 + 16, big.calls
    assert len({name[1:] for name, _ in leases}) == 1000
    done = 0
    while leases:
        batch, leases = leases[:64], leases[64:]
        rows = [p for name, fence in batch for p in (name, fence, "done", "")]
        reply = big.counted("publish", "w9", 64, 9, *rows)
        done += len(batch)
        leases += leases_of(reply[4])
    assert done == 2000
    assert big.calls <= 3 * 2000 // 64, big.calls


@pytest.mark.parametrize("count", [1000, pytest.param(5000, marks=pytest.mark.full)])
def test_full_routes_ahead_are_passed_once(big: Counted, count: int) -> None:
    """Each claim parks 64 of them and says `more`; after that they cost nothing."""
    names = [f"r{n:04d}" for n in range(count)]
    caps(big, names, 1)
    for n, name in enumerate(names):
        big.admit([f"a{n:021d}", f"b{n:021d}"], route=name)
    claim_all(big, 2 * count // 64 + 64)
    for at in range(0, count, 64):  # the parked lanes come back, as after a restart of all limits
        caps(big, names[at : at + 64], 2)
        caps(big, names[at : at + 64], 1)
    [behind] = big.many(1)
    big.calls = 0
    for _ in range(count // 64 + 2):
        reply = big.counted("claim", "w9", 1, 9)
        if reply[3]:
            break
        assert int(reply[2]) == 1, "an empty claim that does not say more"
    assert text(reply[3][0]) == behind
    big.many(1)
    assert big.counted("claim", "w9", 1, 9)[3], "the full routes are still in the way"


def test_the_waiters_of_a_dead_owner_are_gone_soon(big: Counted) -> None:
    big.configure(limit=1)
    big.many(1024)
    big.counted("claim", "w9", 1, 9)
    big.client.delete(big.prefix + "inbox:g0")
    big.calls = 0
    while big.client.hlen(big.prefix + "tasks") > 1:
        big.tick(300)
        big.sweep_all(1024 // 64 + 3)
        assert big.calls <= 1024 // 64 + 3, big.calls


def test_dead_waiters_behind_a_living_one_are_found(big: Counted) -> None:
    """The cursor: 500 of a living owner at the head of a queue that stands still."""
    big.configure(limit=1)
    big.call("attach", "g1")
    big.many(500)
    big.many(200, caller="g1")
    big.many(100, wait_ms=1)
    big.counted("claim", "w9", 1, 9)
    big.client.delete(big.prefix + "inbox:g1")
    for _ in range(2 * 800 // 64 + 4):
        big.tick(300)
        big.sweep_all(8)
    assert big.client.hlen(big.prefix + "tasks") == 500


@pytest.mark.parametrize("how", ["limit", "concurrency"])
def test_a_raised_limit_grants_to_all_in_bounded_calls(big: Counted, how: str) -> None:
    """Hold: a cascade of 500 grants, 64 a call."""
    if how == "limit":
        big.call("configure", "mode", "hold", "limit", 1)
    else:
        big.call("configure", "mode", "hold", "concurrency r0", 1)
    big.many(501, mode="hold")
    assert big.client.zcard(big.prefix + "leases") == 1
    name = "limit" if how == "limit" else "concurrency r0"
    assert int(big.call("configure", name, 501)[2]) == 1
    big.tick(300)
    calls = big.sweep_all(500 // 64 + 2)
    assert calls >= 500 // 64
    assert big.client.zcard(big.prefix + "leases") == 501


def test_leases_that_run_out_together_come_back_in_bounded_calls(big: Counted) -> None:
    big.many(300, run_ms=1000, attempts=2)
    claim_all(big, 300 // 64 + 2)
    big.calls = 0
    for _ in range(4):
        big.tick(300)
        big.sweep_all(300 // 64 + 2)
    assert big.client.zcard(big.prefix + "leases") == 0
    assert big.calls <= 300 // 64 + 6, big.calls
    assert claim_all(big, 300 // 64 + 2) <= 6


def test_retries_that_come_due_together_come_back_in_bounded_calls(big: Counted) -> None:
    big.many(300, attempts=3)
    leases: list[tuple[str, int]] = []
    while len(leases) < 300:
        leases += leases_of(big.counted("claim", "w9", 64, 9)[3])
    for at in range(0, 300, 64):
        rows = [p for lease in leases[at : at + 64] for p in (*lease, 500, 1, "busy")]
        big.counted("retry", "w9", *rows)
    assert big.client.zcard(big.prefix + "due") == 300
    big.tick(600)
    big.sweep_all(300 // 64 + 2)
    assert big.client.zcard(big.prefix + "due") == 0


def test_places_of_a_dead_owner_are_back_in_bounded_calls(big: Counted) -> None:
    big.configure(lease_ms=1000)
    for n in range(200):
        big.numbered("place", "g0", "pull", "take", f"p{n:021d}", "r0", 3)
    big.client.delete(big.prefix + "inbox:g0")
    for _ in range(5):
        big.tick(300)
        big.sweep_all(8)
    assert not big.client.exists(big.prefix + "places")
    assert not big.client.exists(big.prefix + "routes")


def test_dead_letters_are_capped(big: Counted) -> None:
    """10,000 and no more: the oldest goes, its text with it."""
    start = int(cast("bytes", big.client.get(big.prefix + "testclock"))) // 1000 - 10_000
    pipe = big.client.pipeline()
    for n in range(10_000):
        pipe.zadd(big.prefix + "dead", {f"d{n:021d}": start + n})
    pipe.set(f"{big.prefix}dead:d{0:021d}", "x", px=60_000)
    pipe.execute()
    big.many(1)
    big.counted("retry", "w9", *leases_of(big.counted("claim", "w9", 1, 9)[3])[0], 0, 1, "bad")
    assert big.client.zcard(big.prefix + "dead") == 10_000
    assert not big.client.exists(f"{big.prefix}dead:d{0:021d}")
