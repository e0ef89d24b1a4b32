"""A task of this client on its way through the line, and the errors that may await it there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from .errors import (
    BadPayload,
    PeakError,
    QueueClosed,
    QueueFull,
    RateLimited,
    ScriptError,
    StateLost,
    TaskExpired,
    TooLate,
    Unavailable,
)
from .model import Bucket, Profile

BATCH, PART, BATCH_BYTES = 64, 32, 256 << 10
NEW, SENDING, SENT, WATCHING = 0, 1, 2, 3


class Entry:
    """A future that ends with the value of a task or an error, and how far the task has come.

    `lone`: nobody else can want the task, so it is taken out of the line when its waiter leaves.
    `reason`: it was asked to be cancelled. `since`: the value is not older, `acked_at`: it was in
    line by then (both by the loop's clock).
    """

    __slots__ = (
        "acked",
        "acked_at",
        "admitted",
        "body",
        "buckets",
        "future",
        "id",
        "lone",
        "profile",
        "reason",
        "since",
        "state",
    )

    def __init__(
        self,
        task_id: str,
        profile: Profile,
        body: bytes,
        buckets: tuple[Bucket, ...] = (),
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.id = task_id
        self.profile = profile
        self.body = body
        self.buckets = buckets
        self.acked = False
        self.acked_at = 0.0
        self.state = NEW
        self.reason = ""
        self.since = 0.0
        self.lone = profile.keep_s == 0
        loop = loop or asyncio.get_running_loop()
        self.future: asyncio.Future[bytes] = loop.create_future()
        self.admitted: asyncio.Future[None] | None = None

    @property
    def expected(self) -> bool:
        """Whether Redis should know the task by now."""
        return self.acked or self.state == WATCHING

    def deliver(self, value: bytes, since: float) -> None:
        """The value is there."""
        if not self.future.done():
            self.since = since
            self.future.set_result(value)
        if self.admitted is not None and not self.admitted.done():
            self.admitted.set_result(None)  # its value overtook the reply of admit

    def fail(self, error: Exception) -> None:
        """No value will come."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a ticket may never be asked for its result
        if self.admitted is not None and not self.admitted.done():
            self.admitted.set_exception(error)
            self.admitted.exception()

    def lose(self) -> None:
        """Redis does not know the task."""
        if self.reason:  # the reply of our own cancel was lost
            self.deliver(self.reason.encode() + b"\n", 0.0)
        elif self.acked:
            self.fail(StateLost(f"Redis lost task {self.id}", task_id=self.id))
        else:
            text = "no task has this id (now): its result is kept no longer, or it never was"
            self.fail(TaskExpired(text, task_id=self.id))

    def acknowledge(self, at: float) -> None:
        """It was admitted, and Redis has its body, by the time `at` of the loop's clock."""
        self.acked = True
        self.acked_at = at
        self.body = b""
        if self.admitted is not None and not self.admitted.done():
            self.admitted.set_result(None)


def next_batch(waiting: deque[Entry]) -> list[Entry]:
    """Take what goes into one call; those who have given up are left out.

    Of more than `PART` only half, so that one half is worked on while the other is on its way:
    calls that all went together would come back together, and each process wait for the others.
    """
    batch: list[Entry] = []
    size = 0
    most = min(BATCH, max(PART, (len(waiting) + 1) // 2))
    while waiting and len(batch) < most:
        size += len(waiting[0].body)
        if batch and size > BATCH_BYTES:
            break
        entry = waiting.popleft()
        if not entry.future.done():
            entry.state = SENDING
            batch.append(entry)
    return batch


def pack(
    batch: Sequence[Entry],
) -> tuple[list[Bucket], list[Profile], list[tuple[int, str, bytes]]]:
    """Buckets and profiles once each, and per task its profile's number, id and body."""
    buckets: dict[Bucket, int] = {}
    profiles: dict[Profile, int] = {}
    tasks: list[tuple[int, str, bytes]] = []
    last, number = None, 0
    for entry in batch:
        profile = entry.profile
        if entry.buckets:
            take = ",".join(
                f"{buckets.setdefault(bucket, len(buckets) + 1)}:1" for bucket in entry.buckets
            )
            joined = f"{profile.options};take={take}" if profile.options else f"take={take}"
            profile = profile._replace(options=joined)
        if profile is not last:  # most of a call share one object, which need not be hashed again
            last, number = profile, profiles.setdefault(profile, len(profiles) + 1)
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


def late(entry: Entry, what: str) -> PeakError:
    """The error of a waiter whose time is over: `what` did not come."""
    if entry.acked:
        return TaskExpired(f"{what} within the time-out", task_id=entry.id)
    return Unavailable(
        "Redis did not take the task in within the time-out",
        code="TIMEOUT",
        unknown=entry.state != NEW,
    )


def may_have_run(error: Exception) -> bool:
    """Whether a call that ended so may have had its effect."""
    if isinstance(error, Unavailable):
        return error.unknown
    return not isinstance(error, ScriptError)


def copy_of(error: Exception) -> Exception:
    """One exception raised to many callers would grow their tracebacks, so each gets its own."""
    kind = type(error)
    twin = kind.__new__(kind)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error.__cause__
    return twin


def closed() -> Unavailable:
    """The error of those who use a queue after it was closed."""
    return Unavailable(
        "the queue was closed: use it before aclose(), or open() it again", code="CLOSED"
    )
