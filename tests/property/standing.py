"""Claims that stand, and what `admit` gives to one of them."""

from __future__ import annotations

from pyclient.cli.audit import records

from .model import Model, Stand, Step, Task, expect
from .snapshot import Snapshot

STANDS, STAND_MS = 16, 20_000


def level_of(text: str) -> tuple[int, bool]:
    """The argument `max_level`: a digit, and whether a `+` stands behind it."""
    return int(text.removesuffix("+")), text.endswith("+")


def alive(m: Model) -> list[Stand]:
    """Those that count now, oldest first."""
    return [s for s in m.stands if m.now < s.until <= m.now + STAND_MS]


def stand(m: Model, caller: str, slots: int, level: int) -> None:
    """In place of what stood of the caller; what is too old is gone as well."""
    m.seen["stand withdrawn"] += any(s.caller == caller for s in m.stands)
    _keep(m, [s for s in alive(m) if s.caller != caller])
    if slots and len(m.stands) < STANDS:
        m.stands.append(Stand(caller, slots, level, m.now + STAND_MS))
        m.seen["claim stands"] += 1


def _keep(m: Model, stands: list[Stand]) -> None:
    """These are left; the others stand no longer."""
    m.seen["stand expired"] += len(m.stands) - len(alive(m))
    m.stands = stands


def give(m: Model, step: Step, tasks: list[Task], *, moved: bool) -> None:
    """All new tasks of a call go to the oldest claim that has room for them and is heard, unless
    something speaks against it."""
    if not tasks or not m.stands:
        return
    against, left, taker = _against(m, step, tasks, moved=moved), [], ""
    for s in alive(m):
        if taker or not _fits(m, s, tasks):
            left.append(s)
        elif s.caller in m.listening:
            taker = s.caller
        else:
            m.seen["listener dead"] += not against
    if not against:
        _keep(m, left)
        if taker:
            _lease(m, step, tasks, taker)
    elif taker and len(against) == 1:
        m.seen[f"not given: {against.pop()}"] += 1


def _against(m: Model, step: Step, tasks: list[Task], *, moved: bool) -> set[str]:
    """Why the tasks go into their lanes, whatever stands."""
    caps, limit = m.conf.concurrency, m.conf.limit
    running = len(step.before.zset("leases"))
    found = {
        "something waits": bool(step.before.starting("ready:")),
        "a place moved": moved,
        "a limit": 0 < limit < running + len(tasks),
        "paused": m.conf.state == "paused",
        "one attempt": any(t.attempts < 2 for t in tasks),
        "a capped route": any(caps.get(t.route, 0) for t in tasks),
    }
    return {why for why, holds in found.items() if holds}


def _fits(m: Model, s: Stand, tasks: list[Task]) -> bool:
    small, low = s.slots < len(tasks), s.level < max(t.level for t in tasks)
    m.seen["stand too small"] += small
    m.seen["stand too low"] += low
    return not (small or low)


def _lease(m: Model, step: Step, tasks: list[Task], taker: str) -> None:
    """Fences rise from the next tick on; who stood is told all that `claim` would answer."""
    runs = step.after.hash("run")
    first = max(m.now * 1000, m.last_tick + 1)
    for fence, task in enumerate(tasks, first):
        m.lease(step, task, fence, taker)
        found = records.run(runs[task.id]) if task.id in runs else None
        run = (0, 1, fence, task.hard, taker)
        expect(found and found[:5] == run, "given, and its run is", found, "expected", run)
        m.runs[task.id] += 1
    lines = [f"{t.id} {t.run_ms} {t.level} {t.route} {t.tenant} {len(t.body)}\n" for t in tasks]
    head = f"{first}\n{''.join(lines)}\n".encode()
    step.given.append((taker, head + b"".join(t.body for t in tasks)))
    m.seen["given"] += 1
    m.seen["several given"] += len(tasks) > 1


def agree(m: Model, snap: Snapshot) -> None:
    """The same claims stand in Redis."""
    found = [(s.caller, s.slots, s.level, s.until_ms) for s in records.clock(snap).stands]
    wanted = [(s.caller, s.slots, s.level, s.until) for s in m.stands]
    expect(found == wanted, "these claims stand:", found, "expected", wanted)
