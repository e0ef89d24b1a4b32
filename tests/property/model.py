"""The queue as the contract describes it, in plain Python, written without looking at the scripts.

The model *explains* a call: it gets arguments, reply and the keys after it, and raises
`MismatchError` where the contract does not allow that reply or that change. Where the contract
leaves a choice (which of several late waiters a bounded sweep meets first), the model takes over
what was chosen, after checking that it was one of the choices.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pyclient.cli.audit import records

from .snapshot import Snapshot

GATE_MS = 250
BOUND = 64
STRICT = 2**49
ORPHAN_S = 60


class MismatchError(AssertionError):
    """The scripts did what the contract does not allow."""


def expect(condition: object, *what: object) -> None:
    """Raise `MismatchError` unless the condition holds."""
    if not condition:
        raise MismatchError(" ".join(str(part) for part in what))


@dataclass(slots=True)
class Task:
    """One living task."""

    id: str
    level: int
    route: str
    tenant: str
    owner: str
    wait_ms: int
    run_ms: int
    attempts: int
    keep_s: int
    body: bytes
    tick: int = 0
    state: str = "waiting"
    tries: int = 0
    fence: int = 0
    worker: str = ""
    expiry: int = 0
    hard: int = 0
    due: int = 0
    told: bool = False
    watchers: set[str] = field(default_factory=set)

    @property
    def wait_until(self) -> int:
        """Last ms at which it may be leased."""
        return self.tick // 1000 + self.wait_ms


@dataclass(slots=True)
class Conf:
    """Settings, with the defaults of a queue that nobody configured."""

    mode: str = ""
    lease_ms: int = 15000
    limit: int = 0
    capacity: int = 10000
    reserve: list[int] = field(default_factory=lambda: [0] * 10)
    step_us: int = STRICT
    state: str = "open"
    reason: str = ""
    concurrency: dict[str, int] = field(default_factory=dict)
    room: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Place:
    """Room taken before its task exists."""

    caller: str
    route: str
    look: int


@dataclass(slots=True)
class Stand:
    """What a claim did not get, and may still be given."""

    caller: str
    slots: int
    level: int
    until: int


@dataclass(slots=True)
class Record:
    """A caller's last numbered call."""

    number: int
    verb: str
    words: list[bytes]
    leases: list[tuple[str, int]]


@dataclass(slots=True)
class Ended:
    """A task that this call ended, the words it may have ended with, and who must hear."""

    task: Task
    words: set[str]
    body: bytes | None
    tell_owner: bool


@dataclass(slots=True)
class Step:
    """One script call: what went in, what came out, and the keys around it."""

    verb: str
    args: list[bytes]
    reply: Any
    before: Snapshot
    after: Snapshot
    ended: list[Ended] = field(default_factory=list)
    granted: list[Task] = field(default_factory=list)
    given: list[tuple[str, bytes]] = field(default_factory=list)
    changed: bool = False
    requeued: bool = False
    soon: bool = False


class Model:
    """State of one queue."""

    def __init__(self, seen: Counter[str]) -> None:
        self.conf = Conf()
        self.seen = seen
        self.now = 0
        self.last_tick = 0
        self.tasks: dict[str, Task] = {}
        self.inboxes: dict[str, str] = {}
        self.silent: set[str] = set()
        self.results: dict[str, bytes] = {}
        self.kept = 0
        self.dead: dict[str, Task] = {}
        self.places: dict[str, Place] = {}
        self.records: dict[str, Record] = {}
        self.same: dict[str, tuple[str, str]] = {}
        self.buckets: dict[str, Any] = {}
        self.wakes: set[int] = set()
        self.stands: list[Stand] = []
        self.listening: set[str] = set()
        self.swept = 0
        self.gate = 0
        self.grace = 0
        self.totals: Counter[str] = Counter()
        self.ended_ids: dict[str, str] = {}
        self.runs: Counter[str] = Counter()

    @property
    def gate_ms(self) -> int:
        """So long after a sweep there is no other."""
        return min(GATE_MS, self.conf.lease_ms // 4)

    def in_state(self, state: str) -> list[Task]:
        """All tasks of one state."""
        return [task for task in self.tasks.values() if task.state == state]

    def running(self, route: str) -> int:
        """Leases of one route."""
        return sum(t.state == "running" and t.route == route for t in self.tasks.values())

    def living(self, route: str) -> int:
        """Tasks and places of one route; a place and its task count once."""
        ids = {t.id for t in self.tasks.values() if t.route == route}
        return len(ids | {i for i, place in self.places.items() if place.route == route})

    def full(self, route: str) -> bool:
        """No slot of the route is free."""
        cap = self.conf.concurrency.get(route, 0)
        return bool(cap) and self.running(route) >= cap

    def free(self) -> int:
        """Slots of the queue that are free, at most 64 (what one call may lease)."""
        if not self.conf.limit:
            return BOUND
        return max(0, min(BOUND, self.conf.limit - len(self.in_state("running"))))

    def key(self, task: Task) -> tuple[int, int]:
        """Place in the order: smaller is served first."""
        return (task.tick + task.level * self.conf.step_us, task.level)

    def late(self, task: Task) -> bool:
        """Too late to be leased now."""
        return self.now > task.wait_until

    def orphan(self, task: Task) -> bool:
        """Nobody waits for it any more."""
        return not task.keep_s and not any(map(self.heard, {task.owner} | task.watchers))

    def heard(self, caller: str) -> bool:
        """It lives: it has an inbox, and was heard of within a lease."""
        return caller in self.inboxes and caller not in self.silent

    def gone(self, task: Task) -> bool:
        """An orphan, outside of a grace: must not be leased. A silence of half a lease is an outage
        also for a script that does not sweep."""
        silent = self.swept > 0 and 2 * (self.now - self.swept) > self.conf.lease_ms
        graced = self.now < self.grace <= self.now + self.conf.lease_ms
        return self.orphan(task) and not graced and not silent

    def number(self, caller: str, number: int, verb: str) -> str:
        """What a numbered call has to do: `run`, `replay` or `old`."""
        record = self.records.get(caller)
        if number == 0 or record is None or number > record.number:
            return "run"
        return "replay" if (record.number, record.verb) == (number, verb) else "old"

    def end(
        self,
        step: Step,
        task: Task,
        words: set[str] | str,
        body: bytes | None = None,
        *,
        tell_owner: bool = True,
    ) -> None:
        """The task is over; `settle` compares what was posted."""
        words = {words} if isinstance(words, str) else words
        del self.tasks[task.id]
        step.ended.append(Ended(task, words, body, tell_owner))
        step.changed = True

    def lease(self, step: Step, task: Task, fence: int, worker: str) -> None:
        """The task runs from now on."""
        expect(fence > self.last_tick, "a fence that does not rise:", task.id, fence)
        expect(fence >= self.now * 1000, "a fence behind the clock:", task.id, fence)
        self.last_tick = fence
        task.state, task.fence, task.worker, task.told = "running", fence, worker, False
        task.hard = self.now + task.run_ms
        task.expiry = min(self.now + self.conf.lease_ms, task.hard)
        self.totals["leased"] += 1
        step.changed = True

    def requeue(self, step: Step, task: Task, due: int = 0) -> None:
        """Back to waiting, or due."""
        task.state, task.due, task.told = ("due" if due else "waiting"), due, False
        step.changed = step.requeued = True


def clock_of(snap: Snapshot) -> records.Clock:
    """Short for the unpacked clock."""
    return records.clock(snap)
