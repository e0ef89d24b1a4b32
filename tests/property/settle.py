"""After a call: what was posted, and model against keys."""

from __future__ import annotations

from pyclient.cli.audit.records import count

from . import standing
from .model import ORPHAN_S, Ended, Model, Step, expect
from .snapshot import Snapshot, text

Posts = dict[tuple[str, str], list[bytes]]


def settle(m: Model, step: Step) -> None:
    """Compare what was posted with what ended and what was granted."""
    _not_lost(step)
    posts = _new_posts(m, step.after)
    for ended in step.ended:
        _one(m, step, ended, posts)
    for task in step.granted:
        got = posts.pop((task.owner, task.id), [])
        if task.owner not in m.inboxes:
            m.seen["granted to a missing inbox"] += 1
            continue
        wanted = b"granted\n%d %d" % (task.fence, task.run_ms)
        expect(got == [wanted], "the grant posted is", got, "expected", wanted)
    expect(not posts, "posted for no reason:", posts)


def _not_lost(step: Step) -> None:
    """Answers leave an inbox by its owner's word alone (`trim_id`)."""
    trim = text(step.args[3]) if step.verb == "admit" else "0"
    for key, entries in step.before.streams.items():
        mine = step.verb == "admit" and key == f"inbox:{text(step.args[0])}"
        kept = {entry for entry, _ in step.after.streams.get(key, [])}
        for entry, _ in entries:
            if not mine or _order(entry) >= _order(trim):
                expect(entry in kept, "an entry of", key, "is gone:", entry, "trim", trim)


def _new_posts(m: Model, snap: Snapshot) -> Posts:
    posts: Posts = {}
    for caller, last in m.inboxes.items():
        entries = snap.streams.get(f"inbox:{caller}", [])
        for entry, pairs in entries:
            if _order(entry) > _order(last):
                for name, value in pairs:
                    if name != "hello":
                        posts.setdefault((caller, name), []).append(value)
                m.inboxes[caller] = entry
    return posts


def _order(entry: str) -> tuple[int, int]:
    ms, _, sequence = entry.partition("-")
    return int(ms), int(sequence or 0)


def _one(m: Model, step: Step, ended: Ended, posts: Posts) -> None:
    task = ended.task
    values = []
    hearers = {w for w in task.watchers if w in m.inboxes}
    if ended.tell_owner and task.owner in m.inboxes:
        hearers.add(task.owner)
    for caller in hearers:
        got = posts.pop((caller, task.id), [])
        expect(len(got) == 1, task.id, "ended", ended.words, "posted to", caller, ":", got)
        values += got
    stored = step.after.strings.get(f"result:{task.id}")
    orphaned = ended.tell_owner and task.owner not in m.inboxes
    wanted = bool(task.keep_s) or orphaned
    expect(bool(stored) == wanted, "result of", task.id, "is", stored, "expected", wanted, ended)
    if stored is not None:
        values.append(stored)
        ttl = step.after.ttl[f"result:{task.id}"]
        longest = 1000 * (task.keep_s or ORPHAN_S)
        expect(0 < ttl <= longest, "result of", task.id, "lives", ttl, "of", longest)
        m.results[task.id] = stored
        m.kept = max(m.kept, m.now + longest)
    _values(m, ended, values)


def _values(m: Model, ended: Ended, values: list[bytes]) -> None:
    expect(len(set(values)) <= 1, "different answers:", values)
    word = next(iter(ended.words)) if len(ended.words) == 1 else ""
    if values:
        head, _, body = values[0].partition(b"\n")
        word = text(head)
        expect(word in ended.words, ended.task.id, "ended as", word, "expected", ended.words)
        if ended.body is not None:
            expect(body == ended.body, ended.task.id, "answered", body, "expected", ended.body)
    m.totals[word] += 1
    m.seen[f"outcome {word}"] += 1
    before = m.ended_ids.setdefault(ended.task.id, word)
    expect(before == word or not before, "a second outcome:", ended.task.id, before, word)


def agree(m: Model, snap: Snapshot) -> None:
    """Model and keys say the same."""
    _same("tasks", set(snap.hash("tasks")), set(m.tasks))
    waiting = snap.waiting()
    _same("waiting", set(waiting), {t.id for t in m.in_state("waiting")})
    for name, lanes in waiting.items():
        task = m.tasks[name]
        expect(len(lanes) == 1, name, "is in several lanes:", lanes)
        lane, tick = lanes[0]
        expect(tick == task.tick, name, "waits with tick", tick, "expected", task.tick)
        homes = {str(task.level), f"{task.level}:{task.route}"}
        expect(lane in homes, name, "waits in lane", lane, "expected one of", homes)
    leases = {i: int(at) for i, at in snap.zset("leases").items()}
    _same("leases", leases, {t.id: t.expiry for t in m.in_state("running")})
    due = {i: int(at) for i, at in snap.zset("due").items()}
    _same("due", due, {t.id: t.due for t in m.in_state("due")})
    _same("dead", set(snap.zset("dead")), set(m.dead))
    _same("inboxes", set(snap.starting("inbox:")), set(m.inboxes))
    _same("results", set(snap.starting("result:")), set(m.results))
    _same("places", {p.split("|")[0] for p in snap.zset("places")}, set(m.places))
    _routes(m, snap)
    standing.agree(m, snap)


def _routes(m: Model, snap: Snapshot) -> None:
    found = {
        name: (c.living, c.running)
        for name, data in snap.hash("routes").items()
        if (c := count(data)).living or c.running
    }
    names = {t.route for t in m.tasks.values()} | {p.route for p in m.places.values()}
    wanted = {name: (m.living(name), m.running(name)) for name in names}
    _same("routes (living, running)", found, wanted)


def _same(what: str, found: object, wanted: object) -> None:
    if found == wanted:
        return
    if isinstance(found, set) and isinstance(wanted, set):
        expect(False, what, ": only in Redis", found - wanted, "only in the model", wanted - found)
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = {k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k)}
        found, wanted = {k: found.get(k) for k in keys}, {k: wanted.get(k) for k in keys}
    expect(False, what, ": in Redis", found, "in the model", wanted)


def hints(m: Model, step: Step) -> None:
    """Pull: room and work that was touched by this call, so each worker of it has a hint."""
    lists = {int(n): step.after.lists[f"wake:{n}"] for n in step.after.starting("wake:")}
    for level, hint in lists.items():
        expect(len(hint) <= 1, "several hints in wake:", level, hint)
    idle = step.verb == "place" or not step.changed
    if idle or m.conf.mode != "pull" or m.conf.state == "paused" or not m.free():
        return
    for task in m.in_state("waiting"):
        if m.late(task) or m.gone(task) or m.full(task.route):
            continue
        for level in m.wakes:
            if level >= task.level:
                m.seen["hint due"] += 1
                expect(level in lists, "no hint for workers of max_level", level, "and", task)
