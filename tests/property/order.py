"""Who is served next: the order of a queue, as a sort of what waits at that instant."""

from __future__ import annotations

from typing import Any

from .model import BOUND, Model, Step, Task, expect
from .snapshot import text

Lease = tuple[str, int]


def serve(
    m: Model,
    step: Step,
    leases: list[Lease],
    *,
    want: int,
    max_level: int,
    more: int,
    worker: str = "",
    must: bool = True,
) -> None:
    """Check that these leases, in this order, are what the order of the queue gives.

    Every waiting task that could be leased must be, best first, until `want` or the limit is
    reached; what is late or has no owner is passed over. `more` allows to stop early; without
    `must` (nothing changed in this call) nothing at all may be leased too.
    """
    if m.conf.state == "paused":
        expect(not leases, "a paused queue leased", leases)
        return
    want = min(want, m.free(), BOUND)
    expect(len(leases) <= want, "leased above the limit:", leases, "free", want)
    if not leases and not must:
        return
    line = sorted((t for t in m.in_state("waiting") if t.level <= max_level), key=m.key)
    at = 0
    for task in line:
        if at == want or (more and at == len(leases)):
            break
        if m.full(task.route):
            m.seen["passed a full route"] += 1
            continue
        if m.late(task) or m.gone(task):
            continue
        expect(at < len(leases), "could be leased and was not:", task, "of", leases)
        found, fence = leases[at]
        expect(found == task.id, "out of order: expected", task, "got", m.tasks.get(found, found))
        m.lease(step, task, fence, worker or task.owner)
        at += 1
    expect(at == len(leases), "leased, but not to be leased:", _why(m, leases[at:]))


def _why(m: Model, leases: list[Lease]) -> list[object]:
    return [
        (i, task and (task.state, m.late(task), m.gone(task), m.full(task.route), task))
        for i, _ in leases
        for task in [m.tasks.get(i)]
    ]


def tasks_of(reply: list[Any]) -> list[tuple[str, int, int, int, int, str, str, bytes]]:
    """The flat list of a claim as tuples: id fence attempt hard_left level route tenant body."""
    expect(len(reply) % 8 == 0, "a claim's list is not of eights:", reply)
    return [
        (text(r[0]), *(int(x) for x in r[1:5]), text(r[5]), text(r[6]), r[7])
        for r in (reply[i : i + 8] for i in range(0, len(reply), 8))
    ]


def grants_of(reply: list[Any]) -> list[tuple[str, int, int]]:
    """The flat list of grants as tuples: id fence hard_left."""
    expect(len(reply) % 3 == 0, "a list of grants is not of threes:", reply)
    return [(text(reply[i]), int(reply[i + 1]), int(reply[i + 2])) for i in range(0, len(reply), 3)]


def claimed(
    m: Model, step: Step, listed: list[Any], *, want: int, max_level: int, more: int, worker: str
) -> list[Lease]:
    """Check the list of tasks in a claim's reply."""
    rows = tasks_of(listed)
    leases = [(row[0], row[1]) for row in rows]
    serve(m, step, leases, want=want, max_level=max_level, more=more, worker=worker)
    for row in rows:
        task = m.tasks[row[0]]
        wanted = (task.id, task.fence, task.tries + 1, task.run_ms, *_head(task))
        expect(row == wanted, "claim told", row, "expected", wanted)
        m.runs[task.id] += 1
    return leases


def _head(task: Task) -> tuple[int, str, str, bytes]:
    return task.level, task.route, task.tenant, task.body


def again(m: Model, step: Step, listed: list[Any], leases: list[Lease], *, hold: bool) -> None:
    """Check the list of a replayed reply: the same leases, without those lost since."""
    alive = [
        t
        for i, fence in leases
        if (t := m.tasks.get(i)) and (t.state, t.fence) == ("running", fence)
    ]
    if len(alive) < len(leases):
        m.seen["replay without a lost lease"] += 1
    left = [max(0, t.hard - m.now) for t in alive]
    if hold:
        wanted = [(t.id, t.fence, ms) for t, ms in zip(alive, left, strict=True)]
        expect(grants_of(listed) == wanted, "replay told", listed, "expected", wanted)
        return
    full = [(t.id, t.fence, t.tries + 1, ms, *_head(t)) for t, ms in zip(alive, left, strict=True)]
    expect(tasks_of(listed) == full, "replay told", listed, "expected", full)


def granted(
    m: Model, step: Step, listed: list[Any], *, caller: str, more: int, must: bool
) -> list[Lease]:
    """In hold mode: what runs after the call and did not before was granted by it, best first."""
    fresh = _fresh(m, step)
    serve(m, step, fresh, want=BOUND, max_level=9, more=more, must=must)
    mine = []
    for name, fence in fresh:
        task = m.tasks[name]
        if task.owner == caller:
            mine.append((name, fence, task.run_ms))
        else:
            step.granted.append(task)
        m.seen["granted"] += 1
        m.runs[name] += 1
    told = grants_of(listed)
    expect(told == mine, "grants told", told, "expected", mine)
    return [(name, fence) for name, fence, _ in mine]


def _fresh(m: Model, step: Step) -> list[Lease]:
    from pyclient.cli.audit.records import run

    found = []
    for name, data in step.after.hash("run").items():
        fence = run(data).fence
        task = m.tasks.get(name)
        if task is None or task.state != "running" or task.fence != fence:
            found.append((name, fence))
    return sorted(found, key=lambda lease: lease[1])
