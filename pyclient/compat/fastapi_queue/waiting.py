"""One task of a manager, from its submission to an answer in the shape of fastapi-queue.

    confirm_timeout   how long it may wait to be leased: enforced by Redis, for it is the task's
                      `wait_ms`, so that "503" and "it ran" can't both be true
    process_timeout   how long to wait for the end, counted from the lease. The work goes on after
                      that and keeps its place, up to a day.

Who submits is not told of a lease. So the state is looked at once the shorter of the two is over,
and again where that leaves it open.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, TypeAlias

from pyclient import codec
from pyclient.entry import Entry
from pyclient.errors import (
    PeakError,
    Refused,
    StateLost,
    TaskCancelled,
    TaskError,
    TaskExpired,
    Unavailable,
)
from pyclient.line import Line
from pyclient.model import Outcome, Profile
from pyclient.outcome import is_large
from pyclient.placing import Place

from .gateway import PATIENCE_S, Gateway

Answer: TypeAlias = tuple[bool, Any]

UNCONFIRMED: Answer = (False, -1)
UNFINISHED: Answer = (False, -2)
RUN_MS = 86_400_000
MARK = "fastapi_queue"
"""The one key of the dict in which a node wraps what came of a call: [ok, value or text]."""

_LATE_S = 0.005
_SHORTEST_LOOK_S = 0.05
_LONGEST_WAIT_MS = 2_592_000_000
_BODY_S = 5.0


class Submission:
    """Carries one call; use it once."""

    def __init__(
        self,
        gateway: Gateway,
        line: Line,
        place: Place,
        *,
        confirm_s: float,
        process_s: float,
        gone: asyncio.Task[None] | None,
    ) -> None:
        self._gateway = gateway
        self._line = line
        self._place = place
        self._confirm_s = confirm_s
        self._process_s = process_s
        self._gone = gone
        self._loop = asyncio.get_running_loop()

    async def run(self, body: bytes, level: int) -> Answer:
        """Submit the body, wait, answer; the place is free again if the task has ended."""
        wait_ms = min(max(1, math.ceil(self._confirm_s * 1000)), _LONGEST_WAIT_MS)
        profile = Profile(level, self._place.route, "", wait_ms, RUN_MS, 0, 1, 0)
        entry = self._place.entry(profile, body)
        large, submitted = len(body) > codec.INLINE_BYTES, False
        try:
            if large:
                ttl_ms = wait_ms + round(self._process_s * 1000) + 60_000
                put = self._line.bodies.put(entry.id, body, ttl_ms, timeout=_BODY_S)
                entry.body = await self._gateway.soon(put, within=_BODY_S)
            self._line.submit(entry)
            submitted = True
            return await self._answer(entry)
        except PeakError as error:
            return self._told(error)
        finally:
            if entry.future.done() or not submitted:
                self._place.free()
            if large:  # it has been read, or never will be
                self._line.tidy(entry.id, answer=False)

    async def _answer(self, entry: Entry) -> Answer:
        assert entry.admitted is not None
        if not await self._until(entry.admitted, PATIENCE_S):
            return UNCONFIRMED  # leaving the place withdraws it
        entry.admitted.result()
        unanswered = await self._wait(entry, self._loop.time())
        if unanswered is not None:
            return unanswered
        value = entry.future.result()
        body = self._line.bodies.result(entry.id, value, timeout=_BODY_S)
        result = codec.decode(await self._gateway.soon(body, within=_BODY_S), what="result")
        if is_large(Outcome.of(value).body):
            self._line.tidy(entry.id)
        if isinstance(result, dict) and list(result) == [MARK]:
            ok, said = result[MARK]
            return bool(ok), said
        return True, result  # of a worker of the native kind

    async def _wait(self, entry: Entry, admitted: float) -> Answer | None:
        """Until the task has ended; or what to say, since nobody waits any longer."""
        confirm_at = admitted + self._confirm_s + _LATE_S
        step = max(self._process_s, _SHORTEST_LOOK_S)
        look_at = min(confirm_at, admitted + step)
        leased_at: float | None = None
        while True:
            until = look_at if leased_at is None else leased_at + self._process_s
            if await self._until(entry.future, until - self._loop.time()):
                return None
            if self._gone is not None and self._gone.done():
                return UNCONFIRMED
            if leased_at is not None:
                return UNFINISHED
            over = look_at >= confirm_at
            leased_at = await self._leased_at(entry, over=over)
            if leased_at is None and over:
                return None if entry.future.done() else UNCONFIRMED
            look_at = min(confirm_at, look_at + step)

    async def _leased_at(self, entry: Entry, *, over: bool) -> float | None:
        """When it was leased, None if it waits still: where its time is over it is taken out."""
        fetch = self._line.commands.fetch("state", [entry.id])
        try:
            value = (await self._gateway.soon(fetch))[0]
        except Unavailable as error:
            self._gateway.note(error)
            return None
        if value.startswith(b"running\n"):
            left_ms = int(value.split()[2])
            return self._loop.time() - (RUN_MS - left_ms) / 1000
        if value not in (b"waiting", b"due"):
            await self._until(entry.future, PATIENCE_S)  # it has ended, and the word is on its way
        elif over and not entry.future.done():
            # Redis leases it no more, so this can't meet a running one.
            await self._until(self._line.cancel(entry.id, "expired"), PATIENCE_S)
        return None

    async def _until(self, future: asyncio.Future[Any], seconds: float) -> bool:
        """Wait for it, or for the client's leaving; whether it is done."""
        waiting: set[asyncio.Future[Any]] = {future}
        if self._gone is not None:
            waiting.add(self._gone)
        await asyncio.wait(waiting, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        return future.done()

    def _told(self, error: PeakError) -> Answer:
        """The shape of an error."""
        if isinstance(error, Refused | Unavailable | TaskExpired | TaskCancelled):
            self._gateway.note(error)
            return UNCONFIRMED
        if isinstance(error, StateLost):
            self._gateway.note(error)
            return UNFINISHED
        return False, said(error)


def said(error: BaseException) -> str:
    """An error as text, in the form of fastapi-queue, whatever its own `__str__` does."""
    try:
        return f"{type(error)}:{error}"
    except BaseException:  # one that exits there ends no node
        return f"{type(error)}:(its text can't be had)"


__all__ = ["MARK", "UNCONFIRMED", "UNFINISHED", "Answer", "Submission", "TaskError", "said"]
