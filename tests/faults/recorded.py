"""Wraps the product's calls inside a worker process: writes histories, and dies where it is told.

`FAULTS_CRASH=<point>:<nth>` kills the process (SIGKILL, to itself) at the nth time it comes by:

    claimed    a claim or publish has brought tasks, nothing of them has begun
    started    the handler was called and has done nothing yet
    midway     the backend is at work for it
    worked     the backend has answered, the worker does not know
    sending    the outcome is about to be sent
    sent       Redis has the outcome, the worker has not heard so
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from pyclient.commands import Commands
from pyclient.model import Claimed, Leased, Published, Told

from .history import Recorder

POINTS = ("claimed", "started", "midway", "worked", "sending", "sent")
CRASH = "FAULTS_CRASH"


class Crash:
    """The one moment at which this process kills itself, if any."""

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._point, _, nth = os.environ.get(CRASH, "").partition(":")
        self._left = int(nth or 0)
        if self._point not in ("", *POINTS):
            raise ValueError(f"{CRASH} names {self._point!r}, expected one of {POINTS}")

    def at(self, point: str) -> None:
        """It came by here."""
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            self._record("fault", what="crash", target=self._record.name, on=True, point=point)
            os.kill(os.getpid(), signal.SIGKILL)


def wrap(record: Recorder, crash: Crash) -> None:
    """Have every claim, publish and hand-back of this process written down."""
    claim, publish, retry = Commands.claim, Commands.publish, Commands.retry

    async def claimed(self: Commands, *args: Any) -> Claimed:
        asked = time.monotonic_ns()
        reply = await claim(self, *args)
        _leased(record, crash, reply.tasks, asked)
        return reply

    async def published(
        self: Commands, caller: str, number: int, limit: int, most: int, ends: Sequence[Any]
    ) -> Published:
        asked = time.monotonic_ns()
        crash.at("sending")
        record.each("ending", "leases", [(end[0], end[1]) for end in ends])
        reply = await publish(self, caller, number, limit, most, ends)
        crash.at("sent")
        rows = [(end[0], end[1], word) for end, word in zip(ends, reply.words, strict=True)]
        record.each("ended", "leases", rows)
        _leased(record, crash, reply.tasks, asked)
        return reply

    async def handed_back(self: Commands, caller: str, number: int, back: Sequence[Any]) -> Told:
        record.each("ending", "leases", [(one[0], one[1]) for one in back])
        reply = await retry(self, caller, number, back)
        rows = [(one[0], one[1], word) for one, word in zip(back, reply.words, strict=True)]
        record.each("ended", "leases", rows)
        return reply

    # Assigned by name: mypy, rightly, thinks little of replaced methods.
    for name, method in (("claim", claimed), ("publish", published), ("retry", handed_back)):
        setattr(Commands, name, method)


def _leased(record: Recorder, crash: Crash, tasks: Sequence[Leased], asked: int) -> None:
    if tasks:
        rows = [(one.id, one.fence, one.attempt, one.level, one.route) for one in tasks]
        record.each("claim", "tasks", rows, asked=asked)
        crash.at("claimed")
