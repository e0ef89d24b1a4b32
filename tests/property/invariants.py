"""What must hold for the keys of a queue at any instant between two script calls.

Each function takes a `Snapshot` and gives sentences, one a violation; `check` runs them all. They
know nothing of a model, so that `doctor` can ask them of a live queue.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from .layout import clock, count, header, run
from .snapshot import Snapshot, read

PERMANENT = {
    *("tasks", "conf", "clock", "routes", "places", "leases", "run", "due", "dead", "lanes"),
    *("service", "stats", "workers", "audit"),
}
NO_TTL = ("wait:", "ready:", "wake:", "told:")
SHORT_LIVED = (
    "inbox:",
    "call:",
    "result:",
    "bucket:",
    "same:",
    "told:",
    "watch:",
    "dead:",
    "body:",
    "stats:",
    "wake:",
)


def partition(snap: Snapshot) -> Iterator[str]:
    """I1: a living task waits, is due or runs, and is in exactly one of the three."""
    waiting, due, leases = set(snap.waiting()), set(snap.zset("due")), set(snap.zset("leases"))
    tasks = set(snap.hash("tasks"))
    for a, b, what in (
        (waiting, due, "waits and is due"),
        (waiting, leases, "waits and runs"),
        (due, leases, "is due and runs"),
    ):
        for name in a & b:
            yield f"{name} {what}"
    for name in (waiting | due | leases) ^ tasks:
        yield f"{name} is {'a task nowhere in line' if name in tasks else 'in line but no task'}"


def leases(snap: Snapshot) -> Iterator[str]:
    """I2: `run` and `leases` hold the same tasks, with fences of their own, ended by their hard
    deadline."""
    runs = {name: run(data) for name, data in snap.hash("run").items()}
    for name in runs.keys() ^ snap.zset("leases").keys():
        yield f"{name} is in only one of run and leases"
    fences = Counter(r.fence for r in runs.values())
    last = clock(snap).tick
    for name, r in runs.items():
        if fences[r.fence] > 1 or r.fence > last:
            yield f"{name} has the fence {r.fence}, twice or above the tick {last}"
        if snap.zset("leases").get(name, 0) > r.hard_ms:
            yield f"{name} is leased beyond its hard deadline"


def headers(snap: Snapshot) -> Iterator[str]:
    """I3: a header agrees with its lane and its lease; attempts are never exceeded."""
    tasks = {name: header(data) for name, data in snap.hash("tasks").items()}
    ticks = Counter(h.tick for h in tasks.values())
    for name, lanes in snap.waiting().items():
        h = tasks.get(name)
        for lane, tick in lanes if h else ():
            assert h is not None
            if lane not in {str(h.level), f"{h.level}:{h.route}"} or tick != h.tick:
                yield f"{name} waits in {lane} at {tick}, its header says {h.level} {h.tick}"
        if len(lanes) != 1:
            yield f"{name} waits in {len(lanes)} lanes"
    for name, h in tasks.items():
        if ticks[h.tick] > 1 or h.tick > clock(snap).tick:
            yield f"{name} has the tick {h.tick}, twice or above the clock"
        data = snap.hash("run").get(name)
        tried = run(data).attempt if data else h.tries
        if tried > h.attempts:
            yield f"{name} is at attempt {tried} of {h.attempts}"


def represented(snap: Snapshot) -> Iterator[str]:
    """I4: a lane with tasks stands in `ready` with the tick of its head, or is parked because its
    route is full; and nothing else stands there."""
    ready = {
        (int(level), member): int(score)
        for level in snap.starting("ready:")
        for member, score in snap.zsets[f"ready:{level}"].items()
    }
    counts = {name: count(data) for name, data in snap.hash("routes").items()}
    caps = _limits(snap, "cap")
    for lane in snap.starting("wait:"):
        level_text, _, route = lane.partition(":")
        level, head = int(level_text), int(min(snap.zsets[f"wait:{lane}"].values()))
        found = ready.pop((level, route or "*"), None)
        if found is not None:
            if found != head:
                yield f"lane {lane} stands in ready with {found}, its head has {head}"
            continue
        c = counts.get(route)
        parked = c is not None and str(level) in c.parked
        if not route or c is None or not parked:
            yield f"lane {lane} has tasks, is not in ready and not parked"
        elif not caps.get(route) or c.running < caps[route]:
            yield f"lane {lane} is parked and its route has a free slot"
    for level, member in ready:
        yield f"ready:{level} names {member}, an empty lane"


def in_use(snap: Snapshot) -> Iterator[str]:
    """I5: a level with work is noted in the clock, else no claim would look at it."""
    levels = clock(snap).levels
    for level in snap.starting("ready:"):
        if level not in levels:
            yield f"level {level} has work and is not among the levels in use ({levels!r})"


def counted(snap: Snapshot) -> Iterator[str]:
    """I6: the counts of a route are what a recount gives."""
    living: dict[str, set[str]] = {}
    for name, data in snap.hash("tasks").items():
        living.setdefault(header(data).route, set()).add(name)
    for member in snap.zset("places"):
        name, _, route = member.split("|")
        living.setdefault(route, set()).add(name)
    running = Counter(run(data).route for data in snap.hash("run").values())
    counts = {name: count(data) for name, data in snap.hash("routes").items()}
    for name in living.keys() | running.keys() | counts.keys():
        wanted = (len(living.get(name, ())), running[name])
        c = counts.get(name)
        if (c.living if c else 0, c.running if c else 0) != wanted:
            yield f"route {name} counts {c}, a recount gives {wanted}"


def lives(snap: Snapshot) -> Iterator[str]:
    """I7: every key is one of the layout, and has a TTL or is on the permanent list."""
    for key in snap.names():
        if key in PERMANENT or key.startswith(("wait:", "ready:")):
            continue
        if not key.startswith(SHORT_LIVED):
            yield f"{key} is no key of the layout"
        elif snap.ttl[key] <= 0 and not key.startswith(NO_TTL):
            yield f"{key} has no TTL"


def bounded(snap: Snapshot) -> Iterator[str]:
    """I8: lists of hints stay short."""
    for key, items in snap.lists.items():
        bound = 1 if key.startswith("wake:") else 256
        if len(items) > bound:
            yield f"{key} holds {len(items)} hints"


def _limits(snap: Snapshot, what: str) -> dict[str, int]:
    conf = snap.hash("conf")
    return {
        match.group(1): int(value)
        for name, value in conf.items()
        if (match := re.fullmatch(what + r":(.+)", name))
    }


CHECKS: tuple[Callable[[Snapshot], Iterator[str]], ...] = (
    partition,
    leases,
    headers,
    represented,
    in_use,
    counted,
    lives,
    bounded,
)


def violations(snap: Snapshot) -> list[str]:
    """All violations in a snapshot."""
    return [f"{check.__name__}: {line}" for check in CHECKS for line in check(snap)]


def check(client: object, prefix: str) -> list[str]:
    """All violations of a live queue."""
    return violations(read(client, prefix))


def left_over(snap: Snapshot) -> list[str]:
    """After everything has ended: what should not be there any more."""
    may_stay = ("conf", "clock", "service", "stats", "workers", "audit", "dead")
    return [
        key
        for key in snap.names()
        if key not in may_stay
        and not (key.startswith(SHORT_LIVED) and snap.ttl[key] > 0)
        and not key.startswith("wake:")
    ]
