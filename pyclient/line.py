"""The submitter's engine for one queue: tasks in, values out, in as few calls as there are turns.

While one writing call is in flight the next one gathers; when it returns, all go in one, up to 64
tasks and 256 KiB. So there is no timer, nothing waits at low load, and throughput grows with load.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from .blocking import Reader
from .commands import Commands, OldCallError
from .errors import (
    BadPayload,
    PeakError,
    QueueClosed,
    QueueFull,
    RateLimited,
    TooLate,
    Unavailable,
)
from .inbox import Inbox, Waiter
from .model import Admitted, Bucket, Grant, Profile, Published, Told
from .numbered import NumberedCaller
from .sweeper import Sweeper

log = logging.getLogger("pyclient.line")

BATCH, BATCH_BYTES = 64, 256 << 10
PATIENCE_S = 5.0
NEW, SENDING, SENT = 0, 1, 2


class Entry:
    """A task on its way: a future that ends with its value or an error."""

    __slots__ = (
        "acked",
        "admitted",
        "body",
        "buckets",
        "future",
        "id",
        "profile",
        "reason",
        "state",
    )

    def __init__(
        self, task_id: str, profile: Profile, body: bytes, buckets: tuple[Bucket, ...] = ()
    ) -> None:
        self.id = task_id
        self.profile = profile
        self.body = body
        self.buckets = buckets
        self.acked = False
        self.state = NEW
        self.reason = ""
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.admitted: asyncio.Future[None] | None = None

    def deliver(self, value: bytes) -> None:
        """The value is there."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: PeakError) -> None:
        """No value will come."""
        if not self.future.done():
            self.future.set_exception(error)
        if self.admitted is not None:
            self.future.exception()  # a ticket may never be asked for its result
            if not self.admitted.done():
                self.admitted.set_exception(error)

    def acknowledge(self) -> None:
        """It was admitted."""
        self.acked = True
        if self.admitted is not None and not self.admitted.done():
            self.admitted.set_result(None)


class Line:
    """Admits, cancels and (in hold mode) publishes for one caller."""

    def __init__(self, commands: Commands, mode: str, reader: Callable[[], Reader]) -> None:
        self.commands = commands
        self.mode = mode
        self.caller = NumberedCaller()
        self.inbox = Inbox(commands, self.caller.id, reader, self._resend, grants=mode == "hold")
        self.sweeper = Sweeper(commands.sweep)
        self._admits: deque[Entry] = deque()
        self._ends: deque[tuple[str, int, asyncio.Future[str]]] = deque()
        self._cancels: dict[str, list[tuple[str, asyncio.Future[str]]]] = {}
        self._wake = asyncio.Event()
        self._cancel_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Make the inbox and start. Raises Unavailable, ConfigError."""
        await self.inbox.open()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._write_loop()),
            loop.create_task(self._cancel_loop()),
        ]

    async def aclose(self) -> None:
        """Stop; what still waits gets Unavailable."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.sweeper.aclose()
        await self.inbox.aclose()

    # -- what callers use -----------------------------------------------------------------

    def submit(self, entry: Entry) -> asyncio.Future[bytes]:
        """Queue a task for the next admit call."""
        self.inbox.add(entry)
        self._admits.append(entry)
        self._wake.set()
        return entry.future

    def forget(self, entry: Entry, reason: str) -> None:
        """Nobody waits any more: take the task out of the line, whatever stage it is in."""
        self.inbox.discard(entry)
        if entry.state == NEW:
            try:
                self._admits.remove(entry)
            except ValueError:
                return
        elif entry.state == SENDING:
            entry.reason = reason
        elif entry.profile.keep_s == 0:
            self.cancel(entry.id, reason)

    def cancel(self, task_id: str, reason: str) -> asyncio.Future[str]:
        """Cancel by id; the future ends with the script's word."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._cancels.setdefault(reason, []).append((task_id, future))
        self._cancel_wake.set()
        return future

    def end(self, task_id: str, fence: int) -> asyncio.Future[str]:
        """Hold mode: give a turn back; the future ends with the script's word."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ends.append((task_id, fence, future))
        self._wake.set()
        return future

    # -- writing --------------------------------------------------------------------------

    async def _write_loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._admits or self._ends:
                if self._ends:
                    await self._publish()
                if self._admits:
                    await self._admit()

    def _next_batch(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        while self._admits and len(batch) < BATCH:
            size += len(self._admits[0].body)
            if batch and size > BATCH_BYTES:
                break
            entry = self._admits.popleft()
            if not entry.future.done():
                entry.state = SENDING
                batch.append(entry)
        return batch

    async def _admit(self) -> None:
        batch = self._next_batch()
        if not batch:
            return
        buckets, profiles, tasks = _pack(batch)
        trim = self.inbox.last_id

        async def send(number: int) -> list[str]:
            reply = await self.commands.admit(
                self.caller.id, number, self.mode, trim, buckets, profiles, tasks
            )
            self._heard(reply, reply.grants)
            return reply.words

        try:
            words = await self.caller.run(send, patience=PATIENCE_S)
        except (PeakError, OldCallError) as error:
            self._failed(batch, error)
            return
        if "NOINBOX" in words:
            await self._renew_inbox(batch, words)
        for entry, word in zip(batch, words, strict=True):
            self._settle(entry, word)

    def _failed(self, batch: Sequence[Entry], error: PeakError) -> None:
        unknown = not isinstance(error, Unavailable) or error.unknown
        for entry in batch:
            entry.state = SENT
            self.inbox.discard(entry)
            entry.fail(error)
            if unknown:
                self.cancel(entry.id, "cancelled")

    async def _renew_inbox(self, batch: Sequence[Entry], words: list[str]) -> None:
        """Our inbox is gone: attach, and send those refused for it again."""
        try:
            await self.inbox.attach()
        except PeakError as error:
            self._failed([e for e, w in zip(batch, words, strict=True) if w == "NOINBOX"], error)
            return
        self.inbox.lost()
        for entry, word in zip(reversed(batch), reversed(words), strict=True):
            if word == "NOINBOX" and not entry.future.done():
                entry.state = NEW
                self._admits.appendleft(entry)

    def _settle(self, entry: Entry, word: str) -> None:
        if word == "OK" or word == "KNOWN":
            entry.state = SENT
            entry.acknowledge()
            if entry.reason:
                self.forget(entry, entry.reason)
            return
        if word == "NOINBOX":
            return
        entry.state = SENT
        self.inbox.discard(entry)
        kind, _, rest = word.partition(" ")
        if kind == "SAME":
            self.watch(entry, rest)
        else:
            entry.fail(refusal(kind, rest, entry.profile))

    def watch(self, entry: Entry, task_id: str) -> None:
        """Wait for a task that another caller submitted (or this one, under the same key)."""
        entry.id = task_id
        entry.acknowledge()
        self.inbox.add(entry)
        task = asyncio.get_running_loop().create_task(self._attach(entry))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _attach(self, entry: Entry) -> None:
        try:
            value = (await self.inbox.attach([entry.id])).values[0]
        except PeakError as error:
            self.inbox.discard(entry)
            entry.fail(error)
            return
        if value == b"gone":
            self.inbox.discard(entry)
            entry.fail(BadPayload("the task with this key has ended and its result is gone"))
        elif value not in (b"waiting", b"due") and not value.startswith(b"running\n"):
            self.inbox.take(entry.id, value)

    async def _publish(self) -> None:
        ends = [self._ends.popleft() for _ in range(min(len(self._ends), BATCH))]
        outcomes = [(task_id, fence, "done", b"") for task_id, fence, _ in ends]

        async def send(number: int) -> list[str]:
            reply = await self.commands.publish(self.caller.id, number, 0, 9, outcomes, hold=True)
            self._heard(reply, reply.grants)
            return reply.words

        try:
            words = await self.caller.run(send, patience=PATIENCE_S)
        except PeakError as error:
            for _, _, future in ends:
                _fail(future, error)
            return
        for (_, _, future), word in zip(ends, words, strict=True):
            _done(future, word)

    # -- cancelling: unnumbered, so that it waits for nothing --------------------------------

    async def _cancel_loop(self) -> None:
        while True:
            await self._cancel_wake.wait()
            self._cancel_wake.clear()
            while self._cancels:
                reason, waiting = self._cancels.popitem()
                for start in range(0, len(waiting), BATCH):
                    await self._cancel(reason, waiting[start : start + BATCH])

    async def _cancel(self, reason: str, some: list[tuple[str, asyncio.Future[str]]]) -> None:
        ids = [task_id for task_id, _ in some]
        try:
            told, grants = await self.commands.cancel(self.caller.id, 0, reason, ids)
        except PeakError as error:
            log.debug("cancel: %s", error)
            self.inbox.lost()
            for _, future in some:
                _fail(future, error)
            return
        self._heard(told, grants)
        for (task_id, future), word in zip(some, told.words, strict=True):
            if word == "CANCELLED":  # the script does not post to the one that asked
                self.inbox.take(task_id, reason.encode() + b"\n")
            _done(future, word)

    # -- what replies bring -----------------------------------------------------------------

    def _heard(self, reply: Admitted | Published | Told, grants: Sequence[Grant]) -> None:
        if reply.more and self.mode == "hold":
            self.sweeper.soon()
        else:
            self.sweeper.note(reply.next_ms)
        for grant in grants:
            self.inbox.take(grant.id, b"granted\n%d %d" % (grant.fence, grant.hard_left_ms))

    def _resend(self, waiter: Waiter) -> None:
        """Unknown to Redis and never acknowledged: admit it again under its id."""
        if isinstance(waiter, Entry) and waiter.state == SENT and not waiter.future.done():
            waiter.state = NEW
            self._admits.append(waiter)
            self._wake.set()


def _pack(
    batch: Sequence[Entry],
) -> tuple[list[Bucket], list[Profile], list[tuple[int, str, bytes]]]:
    """Buckets and profiles once each, and per task its profile's number, id and body."""
    buckets: dict[Bucket, int] = {}
    profiles: dict[Profile, int] = {}
    tasks: list[tuple[int, str, bytes]] = []
    for entry in batch:
        profile = entry.profile
        if entry.buckets:
            take = ",".join(
                f"{buckets.setdefault(bucket, len(buckets) + 1)}:1" for bucket in entry.buckets
            )
            joined = f"{profile.options};take={take}" if profile.options else f"take={take}"
            profile = profile._replace(options=joined)
        number = profiles.setdefault(profile, len(profiles) + 1)
        tasks.append((number, entry.id, entry.body))
    return list(buckets), list(profiles), tasks


def refusal(kind: str, rest: str, profile: Profile) -> PeakError:
    """The error for a word of admit or place."""
    if kind == "CLOSED":
        return QueueClosed(f"the queue is closed: {rest or 'no reason given'}")
    if kind == "CONFLICT":
        return BadPayload("this idempotency key was used with another payload")
    if kind == "NEVER":
        return RateLimited("the cost is above the burst of a bucket: it can never be taken")
    retry_after = int(rest or 1000) / 1000
    if kind == "LIMITED":
        return RateLimited(f"rate limited for {retry_after:g} s", retry_after=retry_after)
    if kind == "LATE":
        return TooLate(
            f"at the measured pace it would end {retry_after:g} s after its deadline",
            retry_after=retry_after,
        )
    what = f"route {profile.route!r} has no room" if kind == "ROOM" else "the queue is full"
    return QueueFull(f"{what}; try again in {retry_after:g} s", retry_after=retry_after)


def _done(future: asyncio.Future[str], word: str) -> None:
    if not future.done():
        future.set_result(word)


def _fail(future: asyncio.Future[str], error: PeakError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may have left
