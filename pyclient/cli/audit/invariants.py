"""What must hold for the keys of a queue at any instant between two script calls.

Each check takes a `Snapshot` with its records and gives violations; `find` runs them all. They
know nothing of what was asked of the queue, so that they can be asked of a live one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .records import Parts, parts
from .snapshot import Snapshot

# Kept for good, whatever lives.
RECORDS = ("conf", "clock", "service", "stats", "workers", "audit", "dead", "wholes")
KINDS = {
    **dict.fromkeys(("tasks", "conf", "routes", "run", "service", "wholes"), "hash"),
    **dict.fromkeys(("places", "leases", "due", "dead", "lanes"), "zset"),
}
PERMANENT = {*KINDS, "clock", "stats", "workers", "audit"}
STARTS = {
    **dict.fromkeys(("wait:", "ready:"), "zset"),
    **dict.fromkeys(("call:", "result:", "bucket:", "same:", "dead:", "body:"), "string"),
    **dict.fromkeys(("told:", "watch:", "wake:"), "list"),
    "inbox:": "stream",
    "stats:": "hash",
}
MOST_STAND = 16
SHORT_LIVED = tuple(start for start in STARTS if start not in ("wait:", "ready:"))


class Violation(NamedTuple):
    """What does not hold: by which check, of what (the same in two looks), in words."""

    check: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.check}: {self.text}"


Told = Iterator[tuple[str, str]]


def readable(snap: Snapshot, seen: Parts) -> Told:
    """Every key has its type, and every record can be unpacked."""
    for name, kind in snap.kinds.items():
        start = name.partition(":")[0] + ":"
        wanted = "string" if name == "clock" else KINDS.get(name)
        wanted = wanted or (STARTS.get(start) if start != name + ":" else None)
        if wanted and kind != wanted:
            yield name, f"{name} is a {kind}, expected a {wanted}"
    for key, name, why in seen.broken:
        yield f"{key} {name}", f"{key} {name}: {why}".replace(" :", ":")


def partition(snap: Snapshot, seen: Parts) -> Told:
    """I1: a living task waits, is due or runs, and is in exactly one of the three."""
    waiting, due, leases = set(snap.waiting()), set(snap.zset("due")), set(snap.zset("leases"))
    tasks = set(snap.hash("tasks"))
    for a, b, what in (
        (waiting, due, "waits and is due"),
        (waiting, leases, "waits and runs"),
        (due, leases, "is due and runs"),
    ):
        for name in a & b:
            yield f"{name} {what}", f"{name} {what}"
    for name in (waiting | due | leases) ^ tasks:
        what = "a task nowhere in line" if name in tasks else "in line but no task"
        yield f"{name} {what}", f"{name} is {what}"


def leases(snap: Snapshot, seen: Parts) -> Told:
    """I2: `run` and `leases` hold the same tasks, with fences of their own, ended by their hard
    deadline."""
    for name in snap.hash("run").keys() ^ snap.zset("leases").keys():
        yield name, f"{name} is in only one of run and leases"
    fences = Counter(r.fence for r in seen.runs.values())
    last = seen.clock.tick
    for name, r in seen.runs.items():
        if fences[r.fence] > 1 or r.fence > last:
            yield name, f"{name} has the fence {r.fence}, twice or above the tick {last}"
        if snap.zset("leases").get(name, 0) > r.hard_ms:
            yield name, f"{name} is leased beyond its hard deadline"


def headers(snap: Snapshot, seen: Parts) -> Told:
    """I3: a header agrees with its lane and its lease; attempts are never exceeded."""
    ticks = Counter(h.tick for h in seen.tasks.values())
    for name, lanes in snap.waiting().items():
        h = seen.tasks.get(name)
        for lane, tick in lanes if h else ():
            assert h is not None
            if lane not in {str(h.level), f"{h.level}:{h.route}"} or tick != h.tick:
                text = f"waits in {lane} at {tick}, its header says {h.level} {h.tick}"
                yield name, f"{name} {text}"
        if len(lanes) != 1:
            yield name, f"{name} waits in {len(lanes)} lanes"
    for name, h in seen.tasks.items():
        if ticks[h.tick] > 1 or h.tick > seen.clock.tick:
            yield name, f"{name} has the tick {h.tick}, twice or above the clock"
        r = seen.runs.get(name)
        tried = r.attempt if r else h.tries
        if tried > h.attempts:
            yield name, f"{name} is at attempt {tried} of {h.attempts}"


def represented(snap: Snapshot, seen: Parts) -> Told:
    """I4: a lane with tasks stands in `ready` with the tick of its head, or is parked because its
    route is full; and nothing else stands there."""
    ready = {
        (level, member): int(score)
        for level in snap.starting("ready:")
        for member, score in snap.zset(f"ready:{level}").items()
    }
    caps = _limits(snap, "cap")
    for lane in snap.starting("wait:"):
        level, _, route = lane.partition(":")
        head = snap.head(lane)
        found = ready.pop((level, route or "*"), None)
        if found is not None:
            if found != head:
                yield lane, f"lane {lane} stands in ready with {found}, its head has {head}"
            continue
        c = seen.counts.get(route)
        if not route or c is None or level not in c.parked:
            yield lane, f"lane {lane} has tasks, is not in ready and not parked"
        elif not caps.get(route) or c.running < caps[route]:
            yield lane, f"lane {lane} is parked and its route has a free slot"
    for level, member in ready:
        yield f"{level}:{member}", f"ready:{level} names {member}, an empty lane"


def listed(snap: Snapshot, seen: Parts) -> Told:
    """I4: `lanes` names the lanes of capped routes, for those who look at all that waits."""
    waiting = {f"wait:{lane}" for lane in snap.starting("wait:") if ":" in lane}
    for name in waiting ^ snap.zset("lanes").keys():
        what = "is not listed in lanes" if name in waiting else "is listed in lanes and is empty"
        yield name, f"{name} {what}"


def in_use(snap: Snapshot, seen: Parts) -> Told:
    """I5: a level with work is noted in the clock, else no claim would look at it."""
    levels = seen.clock.levels
    for level in snap.starting("ready:"):
        if level not in levels:
            text = f"level {level} has work and is not among the levels in use ({levels!r})"
            yield level, text


def counted(snap: Snapshot, seen: Parts) -> Told:
    """I6: the counts of a route are what a recount gives, give or take what came and went."""
    living: dict[str, set[str]] = {}
    for name, h in seen.tasks.items():
        living.setdefault(h.route, set()).add(name)
    for member in snap.zset("places"):
        name, _, route = member.partition("|")
        living.setdefault(route.partition("|")[2], set()).add(name)
    running = Counter(r.route for r in seen.runs.values())
    for name in living.keys() | running.keys() | seen.counts.keys():
        wanted = (len(living.get(name, ())), running[name])
        c = seen.counts.get(name)
        counts = (c.living if c else 0, c.running if c else 0)
        if any(abs(a - b) > snap.slack for a, b in zip(wanted, counts, strict=True)):
            yield name, f"route {name} counts {c}, a recount gives {wanted}"


def lives(snap: Snapshot, seen: Parts) -> Told:
    """I7: every key is one of the layout, and has a TTL or is on the permanent list."""
    for key in snap.names():
        if key in PERMANENT or key.startswith(("wait:", "ready:")):
            continue
        if not key.startswith(SHORT_LIVED):
            yield key, f"{key} is no key of the layout"
        elif snap.ttl[key] <= 0:
            yield key, f"{key} has no TTL"


def bounded(snap: Snapshot, seen: Parts) -> Told:
    """I8: lists of hints stay short."""
    for key, items in snap.lists.items():
        bound = 1 if key.startswith("wake:") else 256
        if len(items) > bound:
            yield key, f"{key} holds {len(items)} hints"


def standing(snap: Snapshot, seen: Parts) -> Told:
    """I9: few claims stand, one of a caller at most, each for something."""
    stands = seen.clock.stands
    if len(stands) > MOST_STAND:
        yield "stands", f"{len(stands)} claims stand, at most {MOST_STAND} may"
    callers = Counter(stand.caller for stand in stands)
    for slots, level, _, caller in stands:
        if callers[caller] > 1:
            yield caller, f"{callers[caller]} claims of {caller} stand"
        if not (0 < slots <= 64 and level <= 9):
            yield caller, f"the claim of {caller} stands for {slots} slots of levels up to {level}"


def _limits(snap: Snapshot, what: str) -> dict[str, int]:
    return {
        match.group(1): int(value)
        for name, value in snap.hash("conf").items()
        if (match := re.fullmatch(what + r":(.+)", name)) and value.isdigit()
    }


CHECKS: tuple[Callable[[Snapshot, Parts], Told], ...] = (
    readable,
    partition,
    leases,
    headers,
    represented,
    listed,
    in_use,
    counted,
    lives,
    bounded,
    standing,
)


# These compare whole keys with each other, and these what stands for a lane with the lane.
WHOLE = (partition, leases, headers, counted)
STANDING = (represented, listed, in_use)


def find(snap: Snapshot) -> list[Violation]:
    """All violations in a snapshot."""
    seen = parts(snap)
    partly = (*snap.pieces, *snap.left_out)
    unsure = any(name.startswith(("ready:", "lanes", "routes")) for name in partly)
    unsure = unsure or "conf" in snap.left_out
    left = (*(WHOLE if snap.left_out else ()), *(STANDING if unsure else ()))
    checks = [check for check in CHECKS if check not in left]
    return [Violation(check.__name__, *told) for check in checks for told in check(snap, seen)]
