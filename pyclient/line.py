"""The submitter's engine for one queue: tasks in, values out, in as few calls as there are turns.

While one writing call is in flight the next one gathers; when it returns, up to 32 tasks go in one,
of more than 64 half. So there is no timer, nothing waits at low load, throughput grows with load.

**Invariant.** Whatever goes wrong, every future that was handed out ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from .blocking import Reader
from .cancels import Cancels, Word, answer, ended, refuse
from .commands import Commands
from .deadlines import Deadlines
from .entry import (
    BATCH,
    NEW,
    SENDING,
    SENT,
    WATCHING,
    Entry,
    closed,
    copy_of,
    late,
    may_have_run,
    next_batch,
    pack,
    refusal,
)
from .errors import ConfigError, PeakError, Unavailable
from .inbox import Inbox
from .model import Admitted, Grant, Published, Told
from .numbered import NumberedCaller
from .outcome import Bodies
from .sweeper import Sweeper
from .watching import watch

log = logging.getLogger("pyclient.line")
PATIENCE_S = 5.0
_LEAVING_S = 1.0


class Line:
    """Admits, cancels and (in hold mode) publishes for one caller."""

    def __init__(
        self, commands: Commands, mode: str, reader: Callable[[], Reader], bodies: Bodies
    ) -> None:
        self.commands = commands
        self.mode = mode
        self.bodies = bodies
        self.caller = NumberedCaller()
        self.inbox = Inbox(commands, self.caller.id, reader, hold=mode == "hold")
        self.sweeper = Sweeper(commands.sweep)
        self._admits: deque[Entry] = deque()
        self._ends: deque[tuple[str, int, Word]] = deque()
        self._ending: set[Word] = set()
        self._sending: list[Entry] = []
        self._cancels = Cancels(commands, self.caller.id, self.inbox, self._heard)
        self._wake = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop, self.expire)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        """Make the inbox and start. Raises Unavailable, ConfigError."""
        await self.inbox.open()
        self.spawn(self._write_loop())
        self.spawn(self._cancels.run())

    async def aclose(self) -> None:
        """Stop: what waits is taken out of the line, and its waiters get Unavailable."""
        self._closed = True
        try:
            async with asyncio.timeout(_LEAVING_S):
                await self._leave()
        except (PeakError, TimeoutError) as error:
            log.debug("left without a word: %s", error)
        finally:
            for task in self._tasks:
                task.cancel()
            self._cancels.end(self._ending)
            self.deadlines.close()
            async with contextlib.AsyncExitStack() as stack:  # each, also if this is cancelled
                stack.push_async_callback(self.sweeper.aclose)
                stack.push_async_callback(ended, self._tasks)
                stack.push_async_callback(self.inbox.aclose)

    def submit(self, entry: Entry) -> asyncio.Future[bytes]:
        """Queue a task for the next admit call. Raises Unavailable when closed."""
        if self._closed:
            raise closed()
        self.inbox.add(entry)
        self._admits.append(entry)
        self._wake.set()
        return entry.future

    def expire(self, entry: Entry) -> None:
        """The time of its waiter is over."""
        if not entry.future.done():
            entry.fail(late(entry, "no turn came" if self.mode == "hold" else "no answer came"))
            self.forget(entry, "expired")

    def forget(self, entry: Entry, reason: str) -> None:
        """Nobody waits any more: take the task out of the line, whatever stage it is in."""
        self.inbox.discard(entry)
        entry.reason = reason
        if entry.state == NEW:
            entry.future.cancel()  # which has the next batch leave it out
        elif entry.state != SENDING and entry.lone and not self._closed:
            done = self.cancel(entry.id, reason)
            done.add_done_callback(lambda word: self._forgotten(entry, word))

    def cancel(self, task_id: str, reason: str) -> Word:
        """Cancel by id; the future ends with the script's word. Raises Unavailable when closed."""
        self._check_usable()
        for waiter in self.inbox.waiting(task_id):
            if isinstance(waiter, Entry):
                waiter.reason = reason
        return self._cancels.add(task_id, reason)

    def end(self, task_id: str, fence: int) -> Word:
        """Hold mode: give a turn back, whether or not the future (the script's word) is awaited."""
        self._check_usable()
        word: Word = self.loop.create_future()
        self._ends.append((task_id, fence, word))
        self._ending.add(word)
        word.add_done_callback(self._ending.discard)
        self._wake.set()
        return word

    def watch(self, entry: Entry) -> None:
        """Wait for a task that another caller submitted (or this one, under the same key)."""
        self._check_usable()
        entry.state, entry.acked, entry.lone = WATCHING, False, False
        self.inbox.add(entry)
        self.spawn(watch(self.inbox, entry))

    def _check_usable(self) -> None:
        if self._closed:
            raise closed()
        if self.loop is not asyncio.get_running_loop():
            raise ConfigError("this ticket or slot belongs to another event loop")

    def tidy(self, task_id: str, *, answer: bool = True) -> None:
        """Remove large bodies on the side."""
        if not self._closed:
            self.spawn(self.bodies.drop(task_id, answer=answer))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run on the side; ends with the line."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._admits or self._ends:
                if self._ends:
                    await self._publish()
                if batch := next_batch(self._admits):
                    await self._admit(batch)

    async def _admit(self, batch: list[Entry]) -> None:
        sent, self._sending = self.loop.time(), batch
        try:
            buckets, profiles, tasks = pack(batch)
            caller, trim = self.caller.id, self.inbox.trim_id()
            reply = await self.caller.run(
                lambda number: self.commands.admit(
                    caller, number, self.mode, trim, buckets, profiles, tasks
                ),
                patience=PATIENCE_S,
            )
            self._heard(reply, reply.grants, sent)
            now = self.loop.time()
            for entry, word in zip(batch, reply.words, strict=True):
                self._settle(entry, word, now)
            if "NOINBOX" in reply.words:
                await self._renew_inbox(batch, reply.words)
        except Exception as error:
            await self._refused(batch, error, took=self.loop.time() - sent)

    async def _refused(self, batch: list[Entry], error: Exception, *, took: float) -> None:
        """The call did not go through. One that can't be sent must not hurt the others."""
        batch = [entry for entry in batch if entry.state == SENDING]
        bad = not isinstance(error, PeakError) or getattr(error, "code", "") == "BADARG"
        if bad and len(batch) > 1:
            half = len(batch) // 2
            await self._admit(batch[:half])
            await self._admit(batch[half:])
            return
        self._note(error, "admit")
        self._fail(batch, error)
        if isinstance(error, Unavailable) and took > 1:  # the others have waited for it as well
            rest, self._admits = list(self._admits), deque()
            self._fail(rest, Unavailable(str(error), code=error.code))

    def _fail(self, batch: Sequence[Entry], error: Exception) -> None:
        for entry in batch:
            if entry.future.done() and not entry.reason:  # its value overtook the reply
                continue
            entry.state = SENT
            self.inbox.discard(entry)
            entry.fail(copy_of(error))
            if may_have_run(error) and entry.lone and not self._closed:
                self.cancel(entry.id, "cancelled")

    async def _renew_inbox(self, batch: Sequence[Entry], words: list[str]) -> None:
        """Our inbox is gone: attach, and send those refused for it again."""
        await self.inbox.attach()
        for entry, word in zip(reversed(batch), reversed(words), strict=True):
            if word == "NOINBOX" and not entry.future.done():
                entry.state = NEW
                self._admits.appendleft(entry)

    def _settle(self, entry: Entry, word: str, now: float) -> None:
        if word == "NOINBOX":
            return
        entry.state = SENT
        if word == "OK" or word == "KNOWN":
            entry.acknowledge(now)
            self.inbox.settle(entry)
            if entry.reason:
                self.forget(entry, entry.reason)
            return
        self.inbox.discard(entry)
        kind, _, rest = word.partition(" ")
        if kind != "SAME":
            entry.fail(refusal(kind, rest, entry.profile))
        elif self._closed:
            entry.fail(closed())
        elif not entry.future.done():
            entry.id = rest
            entry.acknowledge(now)
            self.watch(entry)

    async def _publish(self) -> None:
        ends = [self._ends.popleft() for _ in range(min(len(self._ends), BATCH))]
        outcomes = [(task_id, fence, "done", b"") for task_id, fence, _ in ends]
        caller, sent = self.caller.id, self.loop.time()
        error: Exception = closed()
        try:
            reply = await self.caller.run(
                lambda number: self.commands.publish(caller, number, 0, 9, outcomes, hold=True),
                patience=PATIENCE_S,
            )
            self._heard(reply, reply.grants, sent)
            for (_, _, word), said in zip(ends, reply.words, strict=True):
                answer(word, said)
        except Exception as caught:
            error = caught
            self._note(error, "publish")
        finally:
            for _, _, word in ends:
                refuse(word, error)

    def _note(self, error: Exception, verb: str) -> None:
        """A reply was lost for good, and with it perhaps a grant: look again."""
        if not isinstance(error, PeakError):
            log.error("%s failed by a mistake of this program", verb, exc_info=error)
        if may_have_run(error):
            self.inbox.lost()

    def _forgotten(self, entry: Entry, word: Word) -> None:
        """It had ended before it was cancelled: its answer may be a large one that nobody gets."""
        if self._closed or self.mode == "hold" or word.cancelled() or word.exception():
            return
        if word.result() == "GONE":
            self.tidy(entry.id)

    def _heard(
        self, reply: Admitted | Published | Told, grants: Sequence[Grant], since: float
    ) -> None:
        if reply.more and self.mode == "hold":
            self.sweeper.soon()
        else:
            self.sweeper.note(reply.next_ms)
        for grant in grants:
            self.inbox.take(grant.id, b"granted\n%d %d" % (grant.fence, grant.hard_left_ms), since)

    async def _leave(self) -> None:
        """Take out what nobody will wait for; let turns that are on their way back get there."""
        self._admits.clear()
        everyone = dict.fromkeys([*self.inbox.everyone(), *self._sending])
        lone = [one.id for one in everyone if isinstance(one, Entry) and one.lone]
        for start in range(0, len(lone), BATCH):
            await self.commands.cancel(self.caller.id, 0, "cancelled", lone[start : start + BATCH])
        if last := self._ending | self._cancels.pending:
            await asyncio.wait(last)
