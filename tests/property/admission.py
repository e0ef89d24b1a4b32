"""What `admit` and `place` answer, task by task."""

from __future__ import annotations

from dataclasses import dataclass, field

from .buckets import Ask, take
from .model import Model, Place, Step, Task, clock_of, expect
from .order import granted
from .snapshot import text
from .standing import give


@dataclass(slots=True)
class Batch:
    """The arguments of an `admit`, taken apart."""

    caller: str
    number: int
    mode: str
    trim: str
    buckets: list[tuple[str, int, int, int]] = field(default_factory=list)
    profiles: list[list[bytes]] = field(default_factory=list)
    tasks: list[tuple[int, str, bytes]] = field(default_factory=list)
    taken: list[Task] = field(default_factory=list)
    moved: bool = False


def parse(args: list[bytes]) -> Batch:
    """Take the flat list apart."""
    batch = Batch(text(args[0]), int(args[1]), text(args[2]), text(args[3]))
    at = 5
    for _ in range(int(args[4])):
        tokens, period_us, burst = (int(a) for a in args[at + 1 : at + 4])
        batch.buckets.append((text(args[at]), tokens, period_us, burst))
        at += 4
    profiles, at = int(args[at]), at + 1
    for _ in range(profiles):
        batch.profiles.append(args[at : at + 9])
        at += 9
    while at < len(args):
        batch.tasks.append((int(args[at]), text(args[at + 1]), args[at + 2]))
        at += 3
    return batch


def _options(profile: list[bytes]) -> dict[str, str]:
    found = text(profile[8])
    return dict(part.split("=", 1) for part in found.split(";")) if found else {}


def _task(batch: Batch, number: int, name: str, body: bytes) -> Task:
    p = batch.profiles[number - 1]
    return Task(
        id=name,
        level=int(p[0]),
        route=text(p[1]),
        tenant=text(p[2]),
        owner=batch.caller,
        wait_ms=int(p[3]),
        run_ms=int(p[4]),
        attempts=int(p[6]),
        keep_s=int(p[7]),
        body=body,
    )


def admit(m: Model, step: Step) -> tuple[list[bytes], list[tuple[str, int]]]:
    """Explain an admission; its words and the grants in its reply."""
    batch = parse(step.args)
    words, listed = step.reply[3], step.reply[4]
    expect(len(words) == len(batch.tasks), "one word a task, got", words)
    empty = not m.tasks
    m.conf.mode = m.conf.mode or batch.mode
    ticks = {i: at[0][1] for i, at in step.after.waiting().items()}
    for (number, name, body), word in zip(batch.tasks, words, strict=True):
        _one(m, step, batch, _task(batch, number, name, body), text(word), number, ticks)
    idle(m, step, empty=empty)
    if m.conf.mode == "pull":
        expect(listed == [], "grants in a pull queue:", listed)
        give(m, step, batch.taken, moved=batch.moved)
        return words, []
    more, must = int(step.reply[2]), step.changed
    return words, granted(m, step, listed, caller=batch.caller, more=more, must=must)


def _one(
    m: Model,
    step: Step,
    batch: Batch,
    task: Task,
    word: str,
    number: int,
    ticks: dict[str, int],
) -> None:
    options = _options(batch.profiles[number - 1])
    wanted = _word(m, batch, task, options, int(batch.profiles[number - 1][5]))
    head = word.split(" ")[0]
    expect(word in wanted or head in wanted, "admit said", word, "expected", wanted, "for", task)
    m.seen[f"admit {head}"] += 1
    if head in {"LIMITED", "FULL", "ROOM", "LATE"}:
        expect(word.split(" ")[1].isdigit(), "no retry time in", word)
    if head not in {"OK", "KNOWN", "SAME", "CONFLICT"}:
        m.totals["refused"] += 1
    if head == "OK":
        _store(m, step, batch, task, options, ticks)


def _word(m: Model, batch: Batch, task: Task, options: dict[str, str], due_ms: int) -> set[str]:
    if task.id in m.tasks or task.id in m.results:
        return {"KNOWN"}
    if "same" in options:
        key, digest = options["same"].split(":")
        if key in m.same:
            name, old = m.same[key]
            return {f"SAME {name}" if old == digest else f"CONFLICT {name}"}
    if m.conf.state == "closed":
        return {f"CLOSED {m.conf.reason}".strip(), f"CLOSED {m.conf.state}", "CLOSED"}
    if not task.keep_s and not m.heard(batch.caller):
        return {"NOINBOX"}
    room = _room(m, task, options)
    if "take" in options:
        limited = _limited(m, batch, options["take"], dry=room != {"OK"})
        if limited:
            return limited
    return room | {"LATE"} if due_ms and room == {"OK"} else room


def _limited(m: Model, batch: Batch, spec: str, *, dry: bool) -> set[str]:
    asks = []
    for part in spec.split(","):
        number, cost = part.split(":")
        asks.append(Ask(*batch.buckets[int(number) - 1], int(cost)))
    buckets = dict(m.buckets) if dry else m.buckets
    word, wait, _ = take(buckets, asks, m.now * 1000)
    if word == "WAIT":
        return {f"LIMITED {wait}"}
    return {"NEVER"} if word == "NEVER" else set()


def _room(m: Model, task: Task, options: dict[str, str]) -> set[str]:
    place = m.places.get(options.get("place", ""))
    if (place and options["place"] not in m.tasks) or _moves(m, task, options):
        return {"OK"}
    full = _capacity(m, task.level)
    if full == {"FULL"}:
        return full
    room = m.conf.room.get(task.route, 0)
    if room and m.living(task.route) >= room:
        return {"ROOM"} | (full - {"OK"})
    return full


def _capacity(m: Model, level: int) -> set[str]:
    if not m.conf.capacity:
        return {"OK"}
    mark = m.conf.capacity - m.conf.reserve[level]
    waiting = len(m.in_state("waiting"))
    alone = sum(name not in m.tasks for name in m.places)
    if m.conf.mode == "hold":
        if not m.conf.limit:
            return {"OK"}
        waiting -= max(0, m.conf.limit - len(m.in_state("running")))
    sure = waiting + alone >= mark
    maybe = waiting + len(m.places) >= mark
    return {"FULL"} if sure else {"FULL", "OK"} if maybe else {"OK"}


def _store(
    m: Model,
    step: Step,
    batch: Batch,
    task: Task,
    options: dict[str, str],
    ticks: dict[str, int],
) -> None:
    task.tick = ticks.get(task.id, 0) or _tick_of_lease(step, task.id)
    expect(task.tick > m.last_tick, "a tick that does not rise:", task, "after", m.last_tick)
    first = max(m.now * 1000, m.last_tick + 1)
    expect(first <= task.tick <= first + 256, "a tick off the clock:", task, "expected", first)
    m.last_tick = task.tick
    batch.moved = batch.moved or _moves(m, task, options)
    batch.taken.append(task)
    m.tasks[task.id] = task
    m.totals["admitted"] += 1
    step.changed = step.requeued = True
    if "same" in options:
        key, digest = options["same"].split(":")
        m.same[key] = (task.id, digest)
    place = options.get("place", "")
    if place in m.places and place != task.id and place not in m.tasks:
        m.places[task.id] = m.places.pop(place)
        m.seen["place renamed"] += 1


def _moves(m: Model, task: Task, options: dict[str, str]) -> bool:
    """The task takes over an open place: that of its options, else one of its own id."""
    name = options.get("place", task.id)
    place = m.places.get(name)
    mine = place and (place.caller, place.route) == (task.owner, task.route)
    return bool(mine) and (name == task.id or name not in m.tasks)


def _tick_of_lease(step: Step, name: str) -> int:
    from pyclient.cli.audit.records import header

    data = step.after.hash("tasks").get(name)
    expect(data is not None, "admitted and not stored:", name)
    assert data is not None
    return header(data).tick


def idle(m: Model, step: Step, *, empty: bool) -> None:
    """An idle time is no outage: the first admission into an empty queue stamps `swept`."""
    swept = clock_of(step.after).swept
    if empty and swept == m.now:
        m.swept = m.now
    elif empty and step.requeued and not m.places:
        expect(swept == m.now, "idle was taken for an outage: swept", swept, "now", m.now)
    else:
        expect(swept == m.swept, "admit moved swept from", m.swept, "to", swept)


def place(m: Model, step: Step) -> list[bytes]:
    """Explain `place take|leave`; its word."""
    caller, _, mode, action, name, route, level = (text(a) for a in step.args)
    m.conf.mode = m.conf.mode or mode
    word = text(step.reply[2])
    head = word.split(" ")[0]
    m.seen[f"place {head}"] += 1
    if action == "leave":
        _leave(m, step, name, head)
        return [step.reply[2]]
    wanted = _take(m, caller, name, route, int(level))
    expect(word in wanted or head in wanted, "place said", word, "expected", wanted)
    if head == "OK":
        if not m.tasks and not m.places:
            swept = clock_of(step.after).swept
            expect(swept == m.now, "idle was taken for an outage: swept", swept, "now", m.now)
            m.swept = swept
        m.places[name] = Place(caller, route, m.now + m.conf.lease_ms // 4)
        step.changed = True
    return [step.reply[2]]


def _take(m: Model, caller: str, name: str, route: str, level: int) -> set[str]:
    if name in m.places or name in m.tasks:
        return {"KNOWN"}
    if name in m.results:
        return {"KNOWN", "OK"}
    if m.conf.state == "closed":
        return {f"CLOSED {m.conf.reason}".strip(), f"CLOSED {m.conf.state}", "CLOSED"}
    if not m.heard(caller):
        return {"NOINBOX"}
    probe = Task(name, level, route, "", caller, 1, 1, 1, 0, b"")
    return _room(m, probe, {})


def _leave(m: Model, step: Step, name: str, head: str) -> None:
    wanted = "OK" if name in m.places else "GONE"
    expect(head == wanted, "place leave said", head, "expected", wanted)
    place = m.places.pop(name, None)
    if place:
        step.changed = True
        task = m.tasks.get(name)
        own = task and (task.owner, task.route) == (place.caller, place.route)
        if task and own and task.state != "running":
            m.end(step, task, "cancelled", tell_owner=False)
