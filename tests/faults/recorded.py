"""Wraps the product's calls inside a worker process: writes histories, and dies where it is told.

`FAULTS_CRASH=<point>:<nth>` kills the process (SIGKILL, to itself) at the nth time it comes by:

    claimed    a claim or publish has brought tasks, nothing of them has begun
    started    the handler was called and has done nothing yet
    midway     the backend is at work for it
    worked     the backend has answered, the worker does not know
    sending    the outcome is about to be sent
    sent       Redis has the outcome, the worker has not heard so

`FAULTS_CLOCK=<seconds>` puts the wall clock that Python shows off by so much; `FAULTS_EDITION=next`
uses scripts of another release: the same rules under other SHAs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from pyclient.commands import Commands, scripts
from pyclient.model import Claimed, Leased, Published, Told
from worker_app import standing

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
    """Have every claim, publish and hand-back of this process written down, and what is given."""
    claim, publish, retry = Commands.claim, Commands.publish, Commands.retry
    given_of = standing.given_of
    asked = _Asked()

    async def claimed(
        self: Commands, caller: str, number: int, *args: Any, stand: bool = False
    ) -> Claimed:
        since = asked.first(caller, number, stand=stand)
        reply = await claim(self, caller, number, *args, stand=stand)
        _leased(record, crash, reply.tasks, since)
        return reply

    async def published(
        self: Commands, caller: str, number: int, *args: Any, stand: bool = False
    ) -> Published:
        since = asked.first(caller, number, stand=stand)
        ends: Sequence[Any] = args[-1]
        crash.at("sending")
        record.each("ending", "leases", [(end[0], end[1]) for end in ends])
        reply = await publish(self, caller, number, *args, stand=stand)
        crash.at("sent")
        rows = [(end[0], end[1], word) for end, word in zip(ends, reply.words, strict=True)]
        record.each("ended", "leases", rows)
        _leased(record, crash, reply.tasks, since)
        return reply

    async def handed_back(self: Commands, caller: str, number: int, back: Sequence[Any]) -> Told:
        record.each("ending", "leases", [(one[0], one[1]) for one in back])
        reply = await retry(self, caller, number, back)
        rows = [(one[0], one[1], word) for one, word in zip(back, reply.words, strict=True)]
        record.each("ended", "leases", rows)
        return reply

    def given(message: bytes) -> list[Leased]:
        tasks = given_of(message)
        _leased(record, crash, tasks, asked.stood)
        return tasks

    standing.given_of = given
    # Assigned by name: mypy, rightly, thinks little of replaced methods.
    for name, method in (("claim", claimed), ("publish", published), ("retry", handed_back)):
        setattr(Commands, name, method)


class _Asked:
    """When a numbered call was first sent: under its number it is sent until its reply is known,
    and what it leased was leased at any moment since."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        self._stood = (0, 0)

    def first(self, caller: str, number: int, *, stand: bool) -> int:
        """In ns."""
        known = self._last.get(caller)
        if known is None or known[0] != number:
            known = self._last[caller] = (number, time.monotonic_ns())
            if stand:
                self._stood = (self._stood[1], known[1])
        return known[1]

    @property
    def stood(self) -> int:
        """When the claim was sent to which something is given: the last that may stand, or the
        one before, whose gift was still on its way."""
        return self._stood[0]


def _leased(record: Recorder, crash: Crash, tasks: Sequence[Leased], asked: int) -> None:
    if tasks:
        rows = [(one.id, one.fence, one.attempt, one.level, one.route) for one in tasks]
        record.each("claim", "tasks", rows, asked=asked)
        crash.at("claimed")


def disguise() -> None:
    """Another wall clock, another release: see above."""
    if offset := float(os.environ.get("FAULTS_CLOCK", "0")):
        true_time, true_ns = time.time, time.time_ns
        setattr(time, "time", lambda: true_time() + offset)  # noqa: B010
        setattr(time, "time_ns", lambda: true_ns() + int(offset * 1e9))  # noqa: B010
    if os.environ.get("FAULTS_EDITION") == "next":
        for name, script in (bundles := scripts()).items():
            head, _, rest = script.text.partition(b"\n")
            text = head + b"\nlocal edition = 2\n" + rest
            sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
            bundles[name] = dataclasses.replace(script, text=text, sha=sha)
