"""One call, explained: number, verb, reply, posts, and model against keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import admission, verbs
from .buckets import Ask, take
from .model import BOUND, ORPHAN_S, STRICT, Model, Record, Step, expect
from .order import again, granted
from .settle import agree, hints, settle
from .snapshot import text
from .sweeping import ended_waiters

NUMBERED = {"admit", "claim", "publish", "retry", "cancel", "place"}
READERS = {"fetch", "gauge"}
WITH_MORE = {"admit", "claim", "publish", "cancel", "configure", "retry", "sweep"}


def explain(m: Model, step: Step) -> None:
    """Check a call against the contract, and take over what it did."""
    status = text(step.reply[0])
    kind = "run"
    if step.verb in NUMBERED:
        number = int(step.args[1])
        kind = m.number(text(step.args[0]), number, step.verb)
    m.seen[f"{kind} {step.verb}"] += 1
    if kind == "old":
        expect(step.reply == [b"OLD"], "expected OLD, got", step.reply)
        _untouched(step)
        return
    expect(status == "OK", step.verb, "answered", step.reply)
    if kind == "replay":
        _replay(m, step)
        _untouched(step)
        return
    _run(m, step)
    settle(m, step)
    agree(m, step.after)
    hints(m, step)
    _times(m, step)


def _untouched(step: Step) -> None:
    before, after = step.before.content(), step.after.content()
    changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    expect(not changed, step.verb, "changed", changed, "and had nothing to do")


def _run(m: Model, step: Step) -> None:
    if step.verb in READERS:
        _untouched(step)
    result = VERBS[step.verb](m, step)
    if step.verb in NUMBERED and int(step.args[1]):
        words, leases = result
        caller, number = text(step.args[0]), int(step.args[1])
        m.records[caller] = Record(number, step.verb, words, leases)


def _replay(m: Model, step: Step) -> None:
    record = m.records[text(step.args[0])]
    at = {"admit": 3, "publish": 3, "cancel": 3, "retry": 3, "place": 2}.get(step.verb)
    if at is not None:
        words = step.reply[at] if step.verb != "place" else [step.reply[at]]
        expect(words == record.words, "replay said", words, "expected", record.words)
    if step.verb == "claim":
        again(m, step, step.reply[3], record.leases, hold=False)
    elif step.verb in {"admit", "publish", "cancel"}:
        again(m, step, step.reply[4], record.leases, hold=m.conf.mode == "hold")


def _times(m: Model, step: Step) -> None:
    """`next_ms`: soon enough for whatever falls due, and never as late as a silence."""
    if step.verb in {"attach", "fetch", "gauge", "limit"}:
        return
    soon = int(step.reply[1])
    if not m.tasks and not m.places:
        expect(soon == 0, "next_ms is", soon, "and nothing lives")
        return
    ends = [t.expiry for t in m.in_state("running")] + [t.due for t in m.in_state("due")]
    gate = m.gate - m.now if m.now < m.gate <= m.now + m.gate_ms else 1
    waits = [max(gate, end + 1 - m.now) if end > m.now else m.gate_ms for end in ends]
    latest = min([m.conf.lease_ms // 4, *waits])
    expect(0 < soon <= latest, "next_ms is", soon, "expected 1 ..", latest)
    if step.verb in WITH_MORE and int(step.reply[2]):
        m.seen["more"] += 1
        small = len(m.tasks) + len(step.ended) < BOUND
        expect(not small or step.ended, "more = 1 and no bound can have been met")


def _attach(m: Model, step: Step) -> verbs.Explained:
    caller, names = text(step.args[0]), [text(a) for a in step.args[1:]]
    fresh, lease, last, values = step.reply[1:5]
    expect(bool(int(fresh)) == (caller not in m.inboxes), "fresh is", fresh)
    expect(int(lease) == m.conf.lease_ms, "lease_ms is", lease)
    stream = step.after.streams[f"inbox:{caller}"]
    wanted = m.inboxes.get(caller) or stream[0][0]
    expect(text(last) == wanted, "last_id is", last, "expected", wanted, "in", stream)
    ttl = step.after.ttl[f"inbox:{caller}"]
    expect(0 < ttl - 1000 * ORPHAN_S <= m.conf.lease_ms, "the inbox lives", ttl)
    m.seen["attach of an inbox that was left"] += caller in m.silent
    m.silent.discard(caller)
    if caller not in m.inboxes:
        expect(stream[0][1] == [("hello", b"1")], "the first entry is", stream[0])
        m.inboxes[caller] = stream[0][0]
        m.seen["attach fresh"] += 1
    _values(m, names, values)
    for name in names:
        if name in m.tasks and m.tasks[name].owner != caller:
            m.tasks[name].watchers.add(caller)
            m.seen["watched"] += 1
    return [], []


def _values(m: Model, names: list[str], values: list[bytes]) -> None:
    expect(len(values) == len(names), "one value an id, got", values)
    for name, got in zip(names, values, strict=True):
        wanted = _state(m, name)
        m.seen[f"state {text(wanted.split(chr(10).encode())[0])}"] += 1
        expect(got == wanted, "state of", name, "is", got, "expected", wanted)


def _state(m: Model, name: str) -> bytes:
    task = m.tasks.get(name)
    if task is None:
        return m.results.get(name, b"gone")
    if task.state != "running":
        return task.state.encode()
    return b"running\n%d %d" % (task.fence, max(0, task.hard - m.now))


def _fetch(m: Model, step: Step) -> verbs.Explained:
    what, names, values = text(step.args[0]), [text(a) for a in step.args[1:]], step.reply[1]
    if what == "state":
        _values(m, names, values)
        return [], []
    line = [t.id for t in sorted(m.in_state("waiting"), key=m.key)]
    for name, got in zip(names, values, strict=True):
        wanted = b"%d" % line.index(name) if name in line else b"gone"
        expect(got == wanted, "position of", name, "is", got, "expected", wanted)
        m.seen["position"] += name in line
    return [], []


def _configure(m: Model, step: Step) -> verbs.Explained:
    pairs = zip(step.args[::2], step.args[1::2], strict=True)
    for name, value in ((text(n), text(v)) for n, v in pairs):
        word, _, route = name.partition(" ")
        if word in {"concurrency", "room"}:
            getattr(m.conf, word)[route] = int(value)
        elif word == "reserve":
            m.conf.reserve = [int(part) for part in value.split(",")]
        elif word == "level_step_ms":
            m.conf.step_us = STRICT if value == "strict" else int(value) * 1000
        elif word in {"lease_ms", "limit", "capacity"}:
            setattr(m.conf, word, int(value))
        elif word != "order":
            setattr(m.conf, word, value)
    step.changed = True
    if m.conf.mode == "hold":
        granted(m, step, [], caller="", more=int(step.reply[2]), must=True)
        ended_waiters(m, step)
    return [], []


def _gauge(m: Model, step: Step) -> verbs.Explained:
    flat = step.reply[1]
    pairs = {text(flat[i]): flat[i + 1] for i in range(0, len(flat), 2)}
    for state in ("waiting", "running", "due"):
        found = int(pairs[state])
        expect(found == len(m.in_state(state)), "gauge tells", state, found)
    expect(int(pairs["places"]) == len(m.places), "gauge tells places", pairs["places"])
    expect(int(pairs["dead"]) == len(m.dead), "gauge tells dead", pairs["dead"])
    for name in ("admitted", "leased", "done", "failed", "expired", "cancelled", "lost"):
        found = int(pairs[name])
        unsure = m.totals[""] if name in {"expired", "cancelled"} else 0
        known = m.totals[name]
        expect(known <= found <= known + unsure, "gauge tells", name, found, "expected", known)
    _levels(m, pairs["levels"])
    return [], []


def _levels(m: Model, found: Any) -> None:
    wanted = [sum(t.level == n for t in m.in_state("waiting")) for n in range(10)]
    expect([int(n) for n in found] == wanted, "gauge tells levels", found, "expected", wanted)


def _limit(m: Model, step: Step) -> verbs.Explained:
    asks = [
        Ask(text(step.args[i]), *(int(a) for a in step.args[i + 1 : i + 5]))
        for i in range(0, len(step.args), 5)
    ]
    wanted = take(m.buckets, asks, m.now * 1000)
    word, wait, *rest = step.reply[1:]
    m.seen[f"limit {text(word)}"] += 1
    found = (text(word), int(wait), [int(n) for n in rest])
    expect(found == wanted, "limit said", found, "expected", wanted, "for", asks)
    return [], []


def _place(m: Model, step: Step) -> verbs.Explained:
    return admission.place(m, step), []


VERBS: dict[str, Callable[[Model, Step], verbs.Explained]] = {
    "admit": admission.admit,
    "attach": _attach,
    "cancel": verbs.cancel,
    "claim": verbs.claim,
    "configure": _configure,
    "fetch": _fetch,
    "gauge": _gauge,
    "limit": _limit,
    "place": _place,
    "publish": verbs.publish,
    "renew": verbs.renew,
    "retry": verbs.retry,
    "revive": verbs.revive,
    "sweep": verbs.sweep_call,
}
