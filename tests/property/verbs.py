"""What the other scripts answer and change."""

from __future__ import annotations

from typing import Any

from .admission import idle
from .model import BOUND, Model, Step, Task, expect
from .order import Lease, claimed, granted
from .snapshot import text
from .standing import level_of, stand
from .sweeping import ended_waiters, sweep, swept

Explained = tuple[list[bytes], list[Lease]]


def claim(m: Model, step: Step) -> Explained:
    """Sweep if the gate is open, then lease."""
    caller, _, limit, max_level = (text(a) for a in step.args)
    top, plus = level_of(max_level)
    m.conf.mode = "pull"
    more = int(step.reply[2])
    if swept(m, step):
        sweep(m, step, more=more)
        _places_swept(m, step)
    leases = claimed(
        m, step, step.reply[3], want=int(limit), max_level=top, more=more, worker=caller
    )
    ended_waiters(m, step)
    if len(leases) < int(limit):
        # It will block now; a worker that got all it wanted needs no hint.
        m.wakes.add(top)
    stand(m, caller, int(limit) - len(leases) if plus and not more else 0, top)
    return [], leases


def publish(m: Model, step: Step) -> Explained:
    """Outcomes, then the next leases or grants."""
    caller, _, limit, max_level = (text(a) for a in step.args[:4])
    top, plus = level_of(max_level)
    words: list[bytes] = step.reply[3]
    rows = [step.args[i : i + 4] for i in range(4, len(step.args), 4)]
    expect(len(words) == len(rows), "one word a lease, got", words)
    for (name, fence, word, body), got in zip(rows, words, strict=True):
        _publish_one(m, step, caller, (text(name), int(fence)), text(word), body, text(got))
    more = int(step.reply[2])
    if m.conf.mode == "hold":
        leases = granted(m, step, step.reply[4], caller=caller, more=more, must=step.changed)
    else:
        leases = claimed(
            m, step, step.reply[4], want=int(limit), max_level=top, more=more, worker=caller
        )
        if len(leases) < int(limit) and not more:
            m.wakes.add(top)
        if plus:
            stand(m, caller, 0 if more else int(limit) - len(leases), top)
    ended_waiters(m, step)
    return words, leases


def _held(m: Model, name: str, fence: int) -> Task | None:
    task = m.tasks.get(name)
    return task if task and task.state == "running" and task.fence == fence else None


def _publish_one(
    m: Model, step: Step, caller: str, lease: Lease, word: str, body: bytes, got: str
) -> None:
    task = _held(m, *lease)
    if task is None:
        wanted = "STALE"
    elif task.told:
        wanted = "CANCELLED"
        m.end(step, task, "cancelled")
    else:
        wanted = "OK"
        # In hold mode the holder is the owner: it needs no letter to itself.
        mine = m.conf.mode == "hold" and caller == task.owner
        m.end(step, task, word, body, tell_owner=not mine)
    m.seen[f"publish {wanted}"] += 1
    expect(got == wanted, "publish of", lease, "said", got, "expected", wanted)


def retry(m: Model, step: Step) -> Explained:
    """Leases handed back."""
    words: list[bytes] = step.reply[3]
    rows = [step.args[i : i + 5] for i in range(2, len(step.args), 5)]
    expect(len(words) == len(rows), "one word a lease, got", words)
    for (name, fence, delay, counted, reason), got in zip(rows, words, strict=True):
        wanted = _retry_one(m, step, _held(m, text(name), int(fence)), int(delay), counted, reason)
        m.seen[f"retry {wanted}"] += 1
        expect(text(got) == wanted, "retry of", name, "said", got, "expected", wanted)
    return words, []


def _retry_one(
    m: Model, step: Step, task: Task | None, delay: int, counted: bytes, reason: bytes
) -> str:
    if task is None:
        return "STALE"
    if task.told:
        m.end(step, task, "cancelled")
        return "CANCELLED"
    if counted == b"2" or (counted == b"1" and task.tries + 1 >= task.attempts):
        m.end(step, task, "dead")
        m.dead[task.id] = task
        return "DEAD"
    if m.now + delay > task.wait_until:
        m.end(step, task, "expired")
        return "EXPIRED"
    task.tries += int(counted)
    m.totals["retried"] += 1
    m.requeue(step, task, m.now + delay if delay else 0)
    return "DUE" if delay else "WAITING"


def cancel(m: Model, step: Step) -> Explained:
    """Waiting ones end, running ones are told."""
    caller, _, reason = (text(a) for a in step.args[:3])
    words: list[bytes] = step.reply[3]
    names = [text(a) for a in step.args[3:]]
    expect(len(words) == len(names), "one word an id, got", words)
    for at, (name, got) in enumerate(zip(names, words, strict=True)):
        task = None if name in names[:at] else m.tasks.get(name)
        wanted = _cancel_one(m, step, task, caller, reason)
        m.seen[f"cancel {wanted}"] += 1
        expect(text(got) == wanted, "cancel of", name, "said", got, "expected", wanted)
    listed = step.reply[4]
    if m.conf.mode != "hold":
        expect(listed == [], "grants in a pull queue:", listed)
        return words, []
    more = int(step.reply[2])
    leases = granted(m, step, listed, caller=caller, more=more, must=step.changed)
    ended_waiters(m, step)
    return words, leases


def _cancel_one(m: Model, step: Step, task: Task | None, caller: str, reason: str) -> str:
    if task is None:
        return "GONE"
    if task.state == "running" and m.conf.mode == "pull":
        if not task.told:
            m.seen["told"] += 1
            told = step.after.lists.get(f"told:{task.worker}", [])
            wanted = b"%s %d" % (task.id.encode(), task.fence)
            expect(wanted in told, "its worker was not told:", task)
        task.told = True
        return "TOLD"
    m.seen[f"cancel of {task.state}"] += 1
    m.end(step, task, reason, tell_owner=caller != task.owner)
    return "CANCELLED"


def renew(m: Model, step: Step) -> Explained:
    """Leases extended, never past the hard deadline."""
    words: list[bytes] = step.reply[2]
    rows = [(text(i), int(f)) for i, f in zip(step.args[1::2], step.args[2::2], strict=True)]
    for (name, fence), got in zip(rows, words, strict=True):
        task = _held(m, name, fence)
        wanted = "LOST" if task is None else "CANCELLED" if task.told else "OK"
        m.seen[f"renew {wanted}"] += 1
        expect(text(got) == wanted, "renew of", name, "said", got, "expected", wanted)
        if task:
            _extend(m, step, task)
    return words, []


def _extend(m: Model, step: Step, task: Task) -> None:
    fresh = min(m.now + m.conf.lease_ms, task.hard)
    found = int(step.after.zset("leases").get(task.id, -1))
    choices = {fresh, task.expiry} if task.told else {fresh, max(fresh, task.expiry)}
    expect(found in choices, "renewed to", found, "expected", choices, "for", task)
    task.expiry = found


def sweep_call(m: Model, step: Step) -> Explained:
    """The verb `sweep`."""
    more, flag = int(step.reply[2]), int(step.reply[3])
    did = swept(m, step)
    expect(bool(flag) == did, "sweep said", flag, "and the clock", did)
    if not did:
        m.seen["sweep at a shut gate"] += 1
        return [], []
    m.seen["sweep"] += 1
    sweep(m, step, more=more)
    _places_swept(m, step)
    if m.conf.mode == "hold":
        granted(m, step, [], caller="", more=more, must=step.changed)
    ended_waiters(m, step)
    return [], []


def _places_swept(m: Model, step: Step) -> None:
    """Places are looked after: kept while their owner lives, given back else."""
    kept = {name.split("|")[0]: int(look) for name, look in step.after.zset("places").items()}
    looked = [name for name, place in m.places.items() if place.look <= m.now]
    for name, place in list(m.places.items()):
        gone = not m.heard(place.caller) and m.now >= m.grace
        if name not in kept:
            expect(place.look <= m.now and gone, "a place was taken away:", name, place, m.now)
            _free_place(m, step, name)
            continue
        fresh = m.now + m.conf.lease_ms // 4
        if place.look < m.now and len(looked) <= BOUND:
            expect(not gone, "a place without owner was kept:", name, place)
            expect(kept[name] == fresh, "a place is looked after at", kept[name], "not", fresh)
        expect(kept[name] in {place.look, fresh}, "a place is looked after at", kept[name])
        m.seen["place looked after"] += kept[name] != place.look
        place.look = kept[name]


def _free_place(m: Model, step: Step, name: str) -> None:
    del m.places[name]
    m.seen["place of a dead owner"] += 1
    step.changed = True  # its task is an orphan like any other; a submitted one lives on


def revive(m: Model, step: Step) -> Explained:
    """Dead letters as new tasks."""
    words: list[bytes] = step.reply[2]
    empty = not m.tasks
    pairs = [(text(a), text(b)) for a, b in zip(step.args[::2], step.args[1::2], strict=True)]
    ticks = {i: at[0][1] for i, at in step.after.waiting().items()}
    for (old, new), got in zip(pairs, words, strict=True):
        known = new in m.tasks or new in m.results
        choices = {"KNOWN", "GONE"} if known and old not in m.dead else set()
        wanted = "GONE" if old not in m.dead else "KNOWN" if known else "OK"
        expect(text(got) in choices | {wanted}, "revive said", got, "expected", wanted)
        m.seen[f"revive {wanted}"] += 1
        if wanted == "OK":
            _revived(m, step, m.dead.pop(old), new, ticks)
    idle(m, step, empty=empty)
    return words, []


def _revived(m: Model, step: Step, dead: Task, new: str, ticks: dict[str, int]) -> None:
    expect(new in ticks, "revived and not waiting:", new)
    expect(ticks[new] > m.last_tick, "a tick that does not rise:", new)
    m.last_tick = ticks[new]
    fields: dict[str, Any] = {
        name: getattr(dead, name)
        for name in ("level", "route", "tenant", "wait_ms", "run_ms", "attempts", "body")
    }
    m.totals["admitted"] += 1
    m.tasks[new] = Task(id=new, owner="", keep_s=3600, tick=ticks[new], **fields)
    step.changed = step.requeued = True
