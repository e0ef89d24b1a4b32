"""The packed records of a queue, unpacked: the only place of the tests that knows their bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from .snapshot import Snapshot

WATCHED, TOLD = 1, 2
# Bytes of the counters between the times and the levels in the clock.
COUNTERS = 7 + 4 + 10 * 6
MODES = {0: "", 1: "pull", 2: "hold"}
STATES = {0: "open", 1: "paused", 2: "closed"}


class Header(NamedTuple):
    """What stands before the body in `tasks`."""

    schema: int
    flags: int
    level: int
    attempts: int
    tries: int
    tick: int
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
    level: int
    attempt: int
    fence: int
    hard_ms: int
    keep_s: int
    caller: str
    inbox: str
    route: str
    tenant: str


class Count(NamedTuple):
    """A route in `routes`: living tasks and places, running, levels parked."""

    living: int
    running: int
    parked: str


@dataclass(slots=True)
class Clock:
    """Times of the queue, ms but for the tick."""

    tick: int = 0
    swept: int = 0
    gate: int = 0
    next: int = 0
    grace: int = 0
    levels: str = ""
    wakes: str = ""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, size: int) -> int:
        value = int.from_bytes(self.data[self.at : self.at + size], "big")
        if self.at + size > len(self.data):
            raise ValueError(f"a packed record ends after {len(self.data)} bytes")
        self.at += size
        return value

    def numbers(self, *sizes: int) -> list[int]:
        return [self.number(size) for size in sizes]

    def text(self) -> str:
        size = self.number(1)
        self.at += size
        return self.data[self.at - size : self.at].decode("latin-1")


def header(data: bytes) -> Header:
    """Unpack a value of `tasks`."""
    r = _Reader(data)
    n = r.numbers(1, 1, 1, 1, 1, 7, 4, 4, 3)
    inbox, route, tenant = r.text(), r.text(), r.text()
    numbers = n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]
    return Header(*numbers, inbox, route, tenant, data[r.at :])


def run(data: bytes) -> Run:
    """Unpack a value of `run`."""
    r = _Reader(data)
    n = r.numbers(1, 1, 1, 7, 6, 3)
    return Run(n[0], n[1], n[2], n[3], n[4], n[5], r.text(), r.text(), r.text(), r.text())


def count(data: bytes) -> Count:
    """Unpack a value of `routes`."""
    living, running = struct.unpack_from(">II", data)
    return Count(living, running, data[8:].decode())


def clock(snap: Snapshot) -> Clock:
    """The clock of the queue, zeroes where there is none yet."""
    data = snap.strings.get("clock")
    if data is None:
        return Clock()
    r = _Reader(data)
    _, tick, swept, gate, soon, grace = r.numbers(1, 7, 6, 6, 6, 6)
    r.at += COUNTERS
    return Clock(tick, swept, gate, soon, grace, r.text(), r.text())
