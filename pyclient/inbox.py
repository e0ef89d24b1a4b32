"""The reply path: one stream a caller, one reader, futures by task id.

An answer is posted in the same script that ends its task, and a stream entry outlives its
reader, so nothing is lost between the two. After a reconnect, or where a refresh finds no inbox,
the reader resyncs: inbox anew, `fetch` of the ids waited for, inbox to its end; what then is
unknown although it was acknowledged is StateLost, loudly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .blocking import Reader
from .commands import Commands
from .errors import PeakError, StateLost, Unavailable
from .model import Attached
from .wire import Backoff

log = logging.getLogger("pyclient.inbox")

COUNT, BLOCK_MS = 4, 1000


class Waiter(Protocol):
    """Someone who waits for the value of a task."""

    id: str
    acked: bool

    def deliver(self, value: bytes) -> None:
        """A value came: an outcome, or in hold mode `granted`."""

    def fail(self, error: PeakError) -> None:
        """No value will come."""


class Inbox:
    """Reads the caller's stream and hands each value to whoever waits for it."""

    def __init__(
        self,
        commands: Commands,
        caller: str,
        reader: Callable[[], Reader],
        resend: Callable[[Waiter], None],
        *,
        grants: bool = False,
    ) -> None:
        self._commands = commands
        self._caller = caller
        self._make_reader = reader
        self._resend = resend
        self._grants = grants
        self._waiters: dict[str, list[Waiter]] = {}
        self._task: asyncio.Task[None] | None = None
        self._stale = False
        self.last_id = b"0"
        self.lease_ms = 15000
        self.fresh_since = 0.0

    def add(self, waiter: Waiter, task_id: str | None = None) -> None:
        """Register before the task is admitted: no answer can come too early."""
        self._waiters.setdefault(task_id or waiter.id, []).append(waiter)

    def discard(self, waiter: Waiter, task_id: str | None = None) -> None:
        """Forget a waiter."""
        waiters = self._waiters.get(task_id or waiter.id)
        if waiters and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[task_id or waiter.id]

    def __len__(self) -> int:
        return len(self._waiters)

    async def open(self) -> None:
        """Make the inbox and begin to read. Raises Unavailable."""
        if self._task is None:
            await self.attach()
            self._task = asyncio.get_running_loop().create_task(self._read())

    async def aclose(self) -> None:
        """End the reader; those who still wait get Unavailable."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.fail_all(Unavailable("the queue was closed"))

    def fail_all(self, error: PeakError) -> None:
        """Tell everyone that waits that nothing will come."""
        waiters, self._waiters = self._waiters, {}
        for waiter in [waiter for several in waiters.values() for waiter in several]:
            waiter.fail(error)

    async def attach(self, ids: Iterable[str] = ()) -> Attached:
        """Make or refresh the inbox; watch tasks of others."""
        reply = await self._commands.attach(self._caller, list(ids))
        self.lease_ms = reply.lease_ms
        if reply.fresh or _order(reply.last_id) < _order(self.last_id):
            self.last_id = b"0"
        return reply

    def lost(self) -> None:
        """A refresh found no inbox: what was posted meanwhile has to be fetched."""
        self._stale = True

    def take(self, task_id: str, value: bytes) -> None:
        """Hand a value to those who wait for it."""
        waiters = self._waiters.pop(task_id, None)
        for waiter in waiters or ():
            waiter.deliver(value)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        reader, backoff = self._make_reader(), Backoff()
        key = self._commands.keys.inbox(self._caller)
        try:
            while True:
                sent = loop.time()
                try:
                    if self._stale:
                        self._stale = False
                        await self._resync(reader, key)
                        backoff.reset()
                    count = await self._next(reader, key, BLOCK_MS)
                    if not count and self._waiters and (await self.attach()).fresh:
                        self._stale = True
                except PeakError as error:
                    log.debug("inbox reader: %s", error)
                    self._stale = True
                    await backoff.sleep()
                    continue
                if count < COUNT:
                    self.fresh_since = sent
        finally:
            await reader.aclose()

    async def _next(self, reader: Reader, key: bytes, block_ms: int) -> int:
        """Read once; returns how many entries came."""
        wait = ("BLOCK", block_ms) if block_ms else ()
        reply: Any = await reader.read(
            b"XREAD", b"COUNT", COUNT, *wait, b"STREAMS", key, self.last_id
        )
        if not reply:
            return 0
        entries = reply[0][1]
        for entry_id, pairs in entries:
            self.last_id = entry_id
            for index in range(0, len(pairs), 2):
                self.take(pairs[index].decode(), pairs[index + 1])
        return len(entries)

    async def _resync(self, reader: Reader, key: bytes) -> None:
        await self.attach()
        waiting = [waiter for several in self._waiters.values() for waiter in several]
        gone: list[Waiter] = []
        for start in range(0, len(waiting), 64):
            some = waiting[start : start + 64]
            values = await self._commands.fetch("state", [waiter.id for waiter in some])
            for waiter, value in zip(some, values, strict=True):
                if value == b"gone":
                    gone.append(waiter)
                elif value.startswith(b"running\n"):
                    if self._grants:  # in hold mode that is the news; else its end will be
                        waiter.deliver(b"granted" + value[7:])
                elif value not in (b"waiting", b"due"):
                    self.take(waiter.id, value)
        while await self._next(reader, key, 0):
            pass
        for waiter in gone:
            if waiter not in self._waiters.get(waiter.id, ()):
                continue
            if waiter.acked:
                self.discard(waiter)
                waiter.fail(StateLost(f"Redis lost task {waiter.id}", task_id=waiter.id))
            else:
                self._resend(waiter)


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms), int(sequence or 0)
