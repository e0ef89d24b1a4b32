"""The history, retold task by task: the only thing that the checks read.

A task is known by its nonce `n`, which its submitter chose and which travels in its body, never
by what the queue says about it. Its id and its fences are what the queue said, and are checked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .history import Event

NS = 1_000_000_000
NEVER = 1 << 62


@dataclass(slots=True)
class Lease:
    """One lease as its worker saw it; `asked` and `at` enclose the moment in Redis."""

    id: str
    fence: int
    attempt: int
    level: int
    route: str
    process: str
    asked: int
    at: int
    sending: int | None = None
    ended: int | None = None
    word: str = ""

    @property
    def let_go(self) -> bool:
        """Whether its worker ended it, or may have (the call was under way)."""
        return self.sending is not None


@dataclass(slots=True)
class Effect:
    """One run as the backend saw it, from outside."""

    n: str
    id: str
    fence: int
    process: str
    at: int
    until: int | None = None


@dataclass(slots=True)
class Task:
    """One request of a client and all that became of it."""

    n: str
    kind: str
    level: int
    route: str
    deadline_s: float
    client: str
    submitted: int
    admitted: int | None = None
    id: str = ""
    ended: int | None = None
    word: str = ""
    got: str = ""
    unknown: bool = False
    cancelled: bool = False
    answers: int = 0
    effects: list[Effect] = field(default_factory=list)


@dataclass(slots=True)
class Fault:
    """Something that was broken on purpose; `target` is a process, or `*` for everybody.

    One that was not mended ends never.
    """

    what: str
    target: str
    begin: int
    end: int


@dataclass(slots=True)
class Lag:
    """A client that could not look: its event loop came late, by no fault of the queue's."""

    begin: int
    end: int


class Stories:
    """Everything of a run, indexed."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.tasks: dict[str, Task] = {}
        self.leases: dict[str, list[Lease]] = defaultdict(list)
        self.faults: list[Fault] = []
        self.lags: dict[str, list[Lag]] = defaultdict(list)
        self.ids: dict[str, str] = {}
        self.strays: list[Effect] = []
        self.facts: list[Event] = []
        self._ids: dict[str, str] = {}
        self._of: dict[str, list[Lease]] = defaultdict(list)
        self._fences: dict[tuple[str, int], Lease] = {}
        self._open: dict[tuple[str, str], Fault] = {}
        self._started: dict[str, Event] = {}
        self._running: dict[tuple[str, int], Effect] = {}
        for event in events:
            tell = getattr(self, f"_{event['e'].replace('-', '_')}", None)
            if tell is not None:
                tell(event)
            else:
                self.facts.append(event)
        for leases in self.leases.values():
            leases.sort(key=lambda lease: lease.fence)

    @property
    def last(self) -> int:
        """When the last event was."""
        return int(self.events[-1]["t"]) if self.events else 0

    def lease(self, task_id: str, fence: int) -> Lease | None:
        """The lease under this fence, if its worker lived to write it down."""
        return self._fences.get((task_id, fence))

    def leases_of(self, process: str) -> Iterable[Lease]:
        """Every lease that a process (`*`: any) wrote down."""
        return self._fences.values() if process == "*" else self._of[process]

    def id_of(self, task: Task) -> str:
        """The id that the queue knows it by; empty where nobody heard of one."""
        return task.id or self._ids.get(task.n, "")

    # -- events of clients ------------------------------------------------------------------

    def _submit(self, e: Event) -> None:
        self.tasks[e["n"]] = Task(
            n=e["n"],
            kind=e["kind"],
            level=e["level"],
            route=e.get("route", "work"),
            deadline_s=e["deadline_s"],
            client=e["p"],
            submitted=e["t"],
        )

    def _admit(self, e: Event) -> None:
        task = self.tasks[e["n"]]
        task.admitted, task.id = e["t"], e["id"]
        self.ids[e["id"]] = e["n"]

    def _leave(self, e: Event) -> None:
        self.tasks[e["n"]].cancelled = True

    def _end(self, e: Event) -> None:
        task = self.tasks[e["n"]]
        task.answers += 1
        task.ended, task.word = e["t"], e["word"]
        task.got, task.unknown = e.get("got", ""), e.get("unknown", False)

    def _lag(self, e: Event) -> None:
        self.lags[e["p"]].append(Lag(e["t"] - int(e["ms"] * 1_000_000), e["t"]))

    # -- events of workers ------------------------------------------------------------------

    def _claim(self, e: Event) -> None:
        for task_id, fence, attempt, level, route in e["tasks"]:
            lease = Lease(task_id, fence, attempt, level, route, e["p"], e["asked"], e["t"])
            self.leases[task_id].append(lease)
            self._of[lease.process].append(lease)
            self._fences[task_id, fence] = lease

    def _ending(self, e: Event) -> None:
        for task_id, fence in e["leases"]:
            if lease := self.lease(task_id, fence):
                lease.sending = lease.sending or e["t"]

    def _ended(self, e: Event) -> None:
        for task_id, fence, word in e["leases"]:
            if lease := self.lease(task_id, fence):
                lease.ended, lease.word = e["t"], word

    def _start(self, e: Event) -> None:
        self.ids[e["id"]] = e["n"]
        self._ids[e["n"]] = e["id"]
        self._started[e["n"]] = e

    # -- events of the backend --------------------------------------------------------------

    def _effect(self, e: Event) -> None:
        effect = Effect(e["n"], e["id"], e["fence"], e["by"], e["t"])
        if not effect.process and (start := self._started.get(e["n"])):
            # A request that was forwarded tells the backend its nonce and nothing else.
            effect.id, effect.fence, effect.process = start["id"], start["fence"], start["p"]
        self._running[e["n"], e["run"]] = effect
        task = self.tasks.get(e["n"])
        if task is None:
            self.strays.append(effect)
        else:
            task.effects.append(effect)

    def _effected(self, e: Event) -> None:
        effect = self._running.pop((e["n"], e["run"]), None)
        if effect is not None:
            effect.until = e["t"]

    # -- events of the conductor ------------------------------------------------------------

    def _fault(self, e: Event) -> None:
        key = e["what"], e["target"]
        if e["on"]:
            fault = Fault(e["what"], e["target"], e["t"], NEVER)
            self.faults.append(fault)
            self._open[key] = fault
        elif fault_open := self._open.pop(key, None):
            fault_open.end = e["t"]

    def hit(self, target: str, since: int, until: int, whats: Sequence[str]) -> Fault | None:
        """A fault of this process, or of everybody, that touches the time between the two."""
        for fault in self.faults:
            if fault.target not in (target, "*") or fault.what not in whats:
                continue
            if fault.end >= since and fault.begin <= until:
                return fault
        return None

    def lagged(self, process: str, since: int, until: int) -> int:
        """For how many ns of this time the client could not look."""
        lags = self.lags[process]
        first = bisect_left(lags, since, key=lambda lag: lag.end)
        total = 0
        for index in range(first, len(lags)):  # one after the other: it lags once at a time
            lag = lags[index]
            if lag.begin > until:
                break
            total += min(lag.end, until) - max(lag.begin, since)
        return total


def seconds(ns: float) -> float:
    """For people."""
    return round(ns / NS, 3)
