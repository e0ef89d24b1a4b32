"""The reply path: one stream a caller, one reader, futures by task id.

An answer is posted in the same script that ends its task, and a stream entry outlives its
reader, so nothing is lost between the two. After a reconnect, or where a refresh finds no inbox,
the reader resyncs: inbox anew, `fetch` of the ids waited for, inbox to its end; what Redis then
does not know although it should is lost, and the waiter told so, loudly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .blocking import Reader
from .commands import Commands
from .errors import PeakError, Unavailable
from .model import Attached
from .wire import Backoff

log = logging.getLogger("pyclient.inbox")

COUNT, BLOCK_MS = 4, 1000
TRIM_AFTER = 64
"""So many answers that were read may lie in the inbox; in a lull none does."""


class Waiter(Protocol):
    """Someone who waits for the value of a task."""

    id: str

    @property
    def expected(self) -> bool:
        """Whether Redis should know the task by now."""

    def deliver(self, value: bytes, since: float) -> None:
        """A value came: an outcome, or in hold mode `granted`, then not before `since`."""

    def fail(self, error: Exception) -> None:
        """No value will come."""

    def lose(self) -> None:
        """Redis does not know the task."""


class Inbox:
    """Reads the caller's stream and hands each value to whoever waits for it."""

    def __init__(
        self, commands: Commands, caller: str, reader: Callable[[], Reader], *, hold: bool = False
    ) -> None:
        self._commands = commands
        self._caller = caller
        self._make_reader = reader
        self._hold = hold
        self._waiters: dict[str, list[Waiter]] = {}
        self._task: asyncio.Task[None] | None = None
        self._stale = False
        self._untrimmed = 0
        self.last_id = b"0"
        self.unsure: set[str] = set()
        self.lease_ms = 15000
        self.fresh_since = 0.0

    def add(self, waiter: Waiter) -> None:
        """Register before the task is admitted: no answer can come too early."""
        self._waiters.setdefault(waiter.id, []).append(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Forget a waiter."""
        waiters = self._waiters.get(waiter.id)
        if waiters and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[waiter.id]

    def waiting(self, task_id: str) -> list[Waiter]:
        """Who waits for a task."""
        return self._waiters.get(task_id, [])

    def everyone(self) -> list[Waiter]:
        """All who wait."""
        return [waiter for several in self._waiters.values() for waiter in several]

    def __len__(self) -> int:
        return len(self._waiters)

    def trim_id(self) -> bytes:
        """What is below this has been read; for the next admit. `0`, for nothing, until it is
        worth the command."""
        if self._untrimmed < TRIM_AFTER:
            return b"0"
        return self._below()

    def _below(self) -> bytes:
        self._untrimmed = 0
        ms, _, sequence = self.last_id.partition(b"-")
        return b"%b-%d" % (ms, int(sequence) + 1) if sequence else self.last_id

    async def open(self) -> None:
        """Make the inbox and begin to read. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        self.fresh_since = loop.time()
        for left in (2, 1, 0):
            try:
                await self.attach()
                break
            except Unavailable as error:
                if not error.unknown or error.code == "TIMEOUT" or not left:
                    # Nothing of a task was sent: what is unknown is not what became of one.
                    text = str(error).removesuffix(" (the call may have run)")
                    raise Unavailable(text, code=error.code) from None
        self._stale = False
        self._task = loop.create_task(self._read())

    async def aclose(self) -> None:
        """End the reader; those who still wait get Unavailable."""
        self.fail_all(lambda: Unavailable("the queue was closed", code="CLOSED"))
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def fail_all(self, error: Callable[[], PeakError]) -> None:
        """Tell everyone that waits that nothing will come."""
        everyone = self.everyone()
        self._waiters.clear()
        for waiter in everyone:
            waiter.fail(error())

    async def attach(self, ids: Iterable[str] = ()) -> Attached:
        """Make or refresh the inbox; watch tasks of others. Where it was gone, resync."""
        reply = await self._commands.attach(self._caller, list(ids))
        self.lease_ms = reply.lease_ms
        if reply.fresh or _order(reply.last_id) < _order(self.last_id):
            self.last_id = b"0"
            self._stale = True
        return reply

    def settle(self, waiter: Waiter) -> None:
        """It was admitted. Where a resync came between and Redis did not know it, it was admitted
        since, or has ended since and its answer went with the old inbox: ask once more."""
        if self.unsure and waiter.id in self.unsure:
            self.unsure.discard(waiter.id)
            self._stale = True

    def lost(self) -> None:
        """Something may have been missed, or a refresh found no inbox: resync."""
        self._stale = True

    def take(self, task_id: str, value: bytes, since: float = 0.0) -> None:
        """Hand a value to those who wait for it."""
        waiters = self._waiters.pop(task_id, None)
        for waiter in waiters or ():
            waiter.deliver(value, since)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        reader, backoff = self._make_reader(), Backoff()
        key = self._commands.keys.inbox(self._caller)
        failing = False
        try:
            while True:
                sent = loop.time()
                try:
                    if self._stale:
                        self._stale = False
                        await self._resync(reader, key)
                    count = await self._next(reader, key, BLOCK_MS)
                    if not count:
                        await self._in_a_lull(reader, key)
                except PeakError as error:
                    level = logging.DEBUG if failing else logging.WARNING
                    log.log(level, "can't read answers, trying again: %s", error)
                except Exception:
                    log.exception("can't read answers, by a mistake of this program")
                else:
                    failing = False
                    backoff.reset()
                    if count < COUNT:
                        self.fresh_since = sent
                    if count:
                        await _others_first()
                    continue
                failing = self._stale = True
                await backoff.sleep()
        finally:
            await reader.aclose()

    async def _in_a_lull(self, reader: Reader, key: bytes) -> None:
        """Nothing came for a while: answers that were read need not lie there until the next
        admit, and those who wait may wait for an inbox that is gone."""
        if self._untrimmed:
            await reader.read(b"XTRIM", key, b"MINID", self._below())
        if self._waiters:
            await self.attach()

    async def _next(self, reader: Reader, key: bytes, block_ms: int) -> int:
        """Read once; returns how many entries came."""
        wait = ("BLOCK", block_ms) if block_ms else ()
        reply: Any = await reader.read(
            b"XREAD", b"COUNT", COUNT, *wait, b"STREAMS", key, self.last_id
        )
        if not reply:
            return 0
        entries = reply[0][1]
        since = self.fresh_since
        for entry_id, pairs in entries:
            self.last_id = entry_id
            self._untrimmed += len(pairs) // 2
            for index in range(0, len(pairs), 2):
                self.take(pairs[index].decode(), pairs[index + 1], since)
        return len(entries)

    async def _resync(self, reader: Reader, key: bytes) -> None:
        await self.attach()
        self._stale = False
        # Who is expected is asked first: an admit may be acknowledged while `fetch` travels.
        everyone = [(waiter, waiter.expected) for waiter in self.everyone()]
        gone: list[Waiter] = []
        self.unsure &= {waiter.id for waiter, _ in everyone}
        for start in range(0, len(everyone), 64):
            some = everyone[start : start + 64]
            values = await self._commands.fetch("state", [waiter.id for waiter, _ in some])
            for (waiter, expected), value in zip(some, values, strict=True):
                if value == b"gone":
                    if expected:
                        gone.append(waiter)
                    else:
                        self.unsure.add(waiter.id)
                elif value.startswith(b"running\n"):
                    if self._hold:
                        self.take(waiter.id, b"granted" + value[7:], self.fresh_since)
                elif value not in (b"waiting", b"due"):
                    self.take(waiter.id, value)
        while await self._next(reader, key, 0):
            pass
        for waiter in gone:
            if waiter in self.waiting(waiter.id):
                self.discard(waiter)
                waiter.lose()


async def _others_first() -> None:
    """Who got an answer goes on, and what they call next is sent, before more is read."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms), int(sequence or 0)
