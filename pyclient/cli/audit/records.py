"""The packed records of a queue, unpacked: the only Python that knows their bytes.

Their layout is that of lua/lib/task.lua, routes.lua and queue.lua. What can't be unpacked raises
ValueError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from .snapshot import Snapshot

T = TypeVar("T")

# Bytes of `kept`, `claimed` and the counters, between the other times and the levels.
COUNTERS = 6 + 7 + 4 + 10 * 6


class Header(NamedTuple):
    """What stands before the body in `tasks`."""

    schema: int
    flags: int
    tries: int
    tick: int
    level: int
    attempts: int
    wait_ms: int
    run_ms: int
    keep_s: int
    inbox: str
    route: str
    tenant: str
    body: bytes


class Run(NamedTuple):
    """A lease in `run`."""

    flags: int
    attempt: int
    fence: int
    hard_ms: int
    caller: str
    level: int
    attempts: int
    wait_ms: int
    run_ms: int
    keep_s: int
    inbox: str
    route: str
    tenant: str


class Count(NamedTuple):
    """A route in `routes`: living tasks and places, running, levels parked."""

    living: int
    running: int
    parked: str


class Stand(NamedTuple):
    """A claim that stands, behind the clock: so many slots for levels up to this, until then."""

    slots: int
    level: int
    until_ms: int
    caller: str


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of the queue, ms but for the tick; and the claims that stand, oldest first."""

    tick: int = 0
    swept: int = 0
    gate: int = 0
    next: int = 0
    grace: int = 0
    levels: str = ""
    wakes: str = ""
    stands: tuple[Stand, ...] = ()


class Parts(NamedTuple):
    """All records of a snapshot, and those that could not be unpacked: key, field, why."""

    tasks: dict[str, Header]
    runs: dict[str, Run]
    counts: dict[str, Count]
    clock: Clock
    broken: list[tuple[str, str, str]]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def numbers(self, *sizes: int) -> list[int]:
        return [self.number(size) for size in sizes]

    def text(self) -> str:
        return self.take(self.number(1)).decode("latin-1")

    def profile(self) -> tuple[int, int, int, int, int, str, str, str]:
        """Level, attempts, wait_ms, run_ms, keep_s, inbox, route and tenant."""
        r = _Reader(self.take(self.number(1)))
        level, attempts, wait_ms, run_ms, keep_s = r.numbers(1, 1, 4, 4, 3)
        return level, attempts, wait_ms, run_ms, keep_s, r.text(), r.text(), r.text()

    def take(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.data):
            raise ValueError(f"a packed record ends after {len(self.data)} bytes")
        return self.data[self.at - size : self.at]


@functools.lru_cache(512)
def header(data: bytes) -> Header:
    """Unpack a value of `tasks`."""
    r = _Reader(data)
    schema, flags, tries, tick = r.numbers(1, 1, 1, 7)
    return Header(schema, flags, tries, tick, *r.profile(), data[r.at :])


@functools.lru_cache(512)
def run(data: bytes) -> Run:
    """Unpack a value of `run`."""
    r = _Reader(data)
    flags, attempt, fence, hard_ms = r.numbers(1, 1, 7, 6)
    return Run(flags, attempt, fence, hard_ms, r.text(), *r.profile())


@functools.lru_cache(512)
def count(data: bytes) -> Count:
    """Unpack a value of `routes`."""
    r = _Reader(data)
    return Count(r.number(4), r.number(4), data[8:].decode("latin-1"))


def counters(data: bytes) -> list[int]:
    """What the clock counts: admitted, refused, leased, then the outcomes and retries."""
    r = _Reader(data)
    r.take(1 + 7 + 5 * 6 + 7 + 4)
    return r.numbers(*[6] * 10)


def clock(snap: Snapshot) -> Clock:
    """The clock of the queue, zeroes where there is none yet."""
    data = snap.strings.get("clock")
    return Clock() if data is None else _clock(data)


@functools.lru_cache(64)
def _clock(data: bytes) -> Clock:
    r = _Reader(data)
    _, tick, swept, gate, soon, grace = r.numbers(1, 7, 6, 6, 6, 6)
    r.take(COUNTERS)
    levels, wakes, _cursor, _pace = (r.text() for _ in range(4))
    stands = []
    while r.at < len(data):
        stands.append(Stand(r.number(1), r.number(1), r.number(6), r.text()))
    return Clock(tick, swept, gate, soon, grace, levels, wakes, tuple(stands))


def parts(snap: Snapshot) -> Parts:
    """All records of a snapshot; what can't be unpacked is told, and left out."""
    broken: list[tuple[str, str, str]] = []
    try:
        when = clock(snap)
    except ValueError as error:
        when = Clock(tick=2**56)
        broken.append(("clock", "", str(error)))
    return Parts(
        _each(snap, "tasks", header, broken),
        _each(snap, "run", run, broken),
        _each(snap, "routes", count, broken),
        when,
        broken,
    )


def _each(
    snap: Snapshot,
    key: str,
    unpack: Callable[[bytes], T],
    broken: list[tuple[str, str, str]],
) -> dict[str, T]:
    found = {}
    for name, data in snap.hash(key).items():
        try:
            found[name] = unpack(data)
        except ValueError as error:
            broken.append((key, name, str(error)))
    return found
