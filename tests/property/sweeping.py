"""What a sweep may and must do."""

from __future__ import annotations

from pyclient.cli.audit.records import run

from .model import BOUND, Model, Step, Task, clock_of, expect

IN_A_ROW = 3


def swept(m: Model, step: Step) -> bool:
    """Whether this call swept, as the clock says; checked against the gate."""
    did = clock_of(step.after).swept == m.now and (
        clock_of(step.before).swept != m.now or clock_of(step.before).gate <= m.now
    )
    gate = m.gate if m.gate <= m.now + m.gate_ms else 0
    if m.now > gate:
        expect(did, "the gate is open (", gate, "now", m.now, ") and nobody swept")
    elif m.now < gate:
        expect(not did, "the gate is shut until", gate, "now", m.now, "and a sweep ran")
    return did


def sweep(m: Model, step: Step, *, more: int) -> int:
    """Explain a sweep; how much it did."""
    lease = m.conf.lease_ms
    ends_before = _grace(m, clock_of(step.after).grace)
    for task in m.in_state("running"):
        task.expiry = min(task.expiry, m.now + lease)
    done = _leases(m, step, ends_before)
    done += _due(m, step, more)
    m.swept = m.now
    m.gate = 0 if more else m.now + m.gate_ms
    return done


def _grace(m: Model, after: int) -> int:
    """Check the grace that the sweep left; leases that ended before the answer must end."""
    lease = m.conf.lease_ms
    if m.swept > m.now:
        m.seen["clock behind the last sweep"] += 1
    last_choices = {m.swept} if m.swept <= m.now else {0, m.now}
    running_choices = {m.grace} if m.grace <= m.now + lease else {0, m.now + lease}
    allowed: dict[int, set[int]] = {}
    for last in last_choices:
        for grace in running_choices:
            silent = 2 * (m.now - last) > lease
            holds = grace > m.now
            if not silent or not last or not m.tasks:
                # Never swept, or nothing lives: no outage to make up for.
                allowed.setdefault(grace if holds else 0, set()).add(0 if holds else m.now)
            if silent:
                row = last + lease - grace
                row = row + 1 if 0 <= row <= IN_A_ROW else 0
                row, used_up = row % (IN_A_ROW + 1), row > IN_A_ROW
                m.seen["outages in a row"] += row > 0
                allowed.setdefault(m.now + lease - row, set()).add(last if used_up else 0)
    key = after if after > m.now else 0
    expect(key in allowed, "grace is", after, "expected one of", sorted(allowed), "now", m.now)
    if key > m.now and key != m.grace:
        m.seen["grace"] += 1
    # As it is stored: one that is over comes back to life where the clock steps back.
    m.grace = after
    return max(allowed[key])


def _leases(m: Model, step: Step, ends_before: int) -> int:
    after = {name: run(data) for name, data in step.after.hash("run").items()}
    ended = [t for t in m.in_state("running") if t.id not in after or after[t.id].fence != t.fence]
    over = [t for t in m.in_state("running") if t.expiry < ends_before]
    for task in ended:
        limit = max(ends_before, 0)
        expect(task.expiry <= limit, "a lease ended early:", task, "limit", limit, "now", m.now)
    missed = [t for t in over if t not in ended]
    expect(not missed or len(ended) >= BOUND, "a lease ran out and was left:", missed, m.now)
    for task in sorted(ended, key=lambda t: (t.expiry, t.id)):
        m.seen["lease ended"] += 1
        back(m, step, task)
    return len(ended)


def back(m: Model, step: Step, task: Task) -> None:
    """A lease ended: told, used up, too late, or waiting again with its old tick."""
    if m.conf.mode == "hold":
        m.end(step, task, "lost")
    elif task.told:
        m.end(step, task, "cancelled")
    elif task.tries + 1 >= task.attempts:
        m.end(step, task, "lost")
    elif m.late(task):
        m.end(step, task, "expired")
    else:
        task.tries += 1
        m.requeue(step, task)


def _due(m: Model, step: Step, more: int) -> int:
    ready = sorted((t for t in m.in_state("due") if t.due <= m.now), key=lambda t: (t.due, t.id))
    for task in ready:
        if task.id in step.after.zset("due"):
            expect(len(ready) > BOUND or task.due == m.now, "a due task was left:", task, m.now)
            continue
        m.seen["due came back"] += 1
        m.requeue(step, task)
    return len(ready)


def ended_waiters(m: Model, step: Step) -> int:
    """Waiters that are gone: each must have been late or without an owner."""
    left = step.after.hash("tasks")
    count = 0
    for task in [*m.in_state("waiting"), *m.in_state("due")]:
        if task.id in left:
            continue
        words = set()
        if m.late(task):
            words.add("expired")
        if m.gone(task):
            words.add("cancelled")
        expect(words, "a waiting task vanished:", task, "now", m.now, "grace", m.grace)
        for word in words:
            m.seen[f"waiter ended {word}"] += 1
        m.end(step, task, words)
        count += 1
    return count
