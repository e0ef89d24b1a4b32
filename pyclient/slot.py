"""Hold mode: the code stays where it is, and only its place in line travels."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from .commands import Commands, scripts
from .connection import Connection
from .entry import Entry
from .errors import ConfigError, PeakError, TaskCancelled, TaskExpired, TaskLost
from .keeper import call_soon
from .keys import Keys, new_task_id
from .line import Line
from .model import Outcome, Profile
from .outcome import error_of

log = logging.getLogger("pyclient.slot")

_RENEW_S = 5.0
_LEAST_S = 0.2


class Lease:
    """The right to run now. `fence` rises from lease to lease: hand it to what must refuse
    the late; `waited_ms` is how long the turn took to come."""

    __slots__ = ("_task", "fence", "id", "lost", "waited_ms")

    def __init__(self, task_id: str, fence: int, waited_ms: int) -> None:
        self.id = task_id
        self.fence = fence
        self.waited_ms = waited_ms
        self.lost = False
        self._task = asyncio.current_task()

    def detach(self) -> None:
        """Losing the lease shall not cancel the task that took it."""
        self._task = None

    def lose(self) -> None:
        """The lease has ended under the holder: stop what it does."""
        if not self.lost:
            self.lost = True
            if self._task is not None:
                self._task.cancel()

    def take_back(self) -> int:
        """Undo the cancelling of `lose`, which has had its effect; returns how many cancels of
        others are left."""
        return self._task.uncancel() if self._task is not None else 0


class SlotKeeper:
    """The leases that this process holds; `renew` is the job of the keeper's thread."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self.held: dict[str, Lease] = {}
        self._line = line
        self._keys = keys
        self._loop = asyncio.get_running_loop()

    async def renew(self, conn: Connection) -> float | None:
        """Renew all; returns when to do it again."""
        if self._loop.is_closed():
            return None
        commands = Commands(conn, scripts(), self._keys)
        held = list(self.held.values())
        for start in range(0, len(held), 64):
            some = held[start : start + 64]
            told = await commands.renew(
                self._line.caller.id, [(lease.id, lease.fence) for lease in some]
            )
            for lease, word in zip(some, told.words, strict=True):
                if word != "OK":
                    call_soon(self._loop, self._lost, lease)
        return min(self._line.inbox.lease_ms / 3000, _RENEW_S)

    def lose_all(self) -> None:
        """Nobody renews any more."""
        for lease in list(self.held.values()):
            lease.lose()

    def _lost(self, lease: Lease) -> None:
        if self.held.get(lease.id) is lease:  # else it was given back meanwhile
            lease.lose()


class Slot:
    """The context manager of `Queue.slot`; use it once. `id` is that of the task that waits."""

    def __init__(
        self,
        line: Callable[[float, str], Awaitable[tuple[Line, SlotKeeper]]],
        profile: Profile,
        timeout: float,
        task_id: str = "",
    ) -> None:
        self.id = task_id or new_task_id()
        self._open = line
        self._profile = profile
        self._timeout = timeout
        self._used = False
        self._abandoned = False
        self._lease: Lease | None = None

    async def __aenter__(self) -> Lease:
        if self._used:
            raise ConfigError("a slot can be used once: call queue.slot(...) for each turn")
        self._used = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + self._timeout
        self._line, self._keeper = await self._open(deadline, self.id)
        entry = Entry(self.id, self._profile, b"", loop=loop)
        future = self._line.submit(entry)
        self._line.deadlines.add(entry, deadline)
        try:
            value = await future
        except BaseException as error:
            self._line.deadlines.discard(entry)
            if isinstance(error, asyncio.CancelledError):
                self._line.forget(entry, "cancelled")
            del entry, future  # an error has this frame, and they the error: see collector.py
            raise
        self._line.deadlines.discard(entry)
        word, _, rest = value.partition(b"\n")
        if word != b"granted":
            raise error_of(entry.id, Outcome.of(value))
        lease = Lease(entry.id, int(rest.split()[0]), round((loop.time() - began) * 1000))
        try:
            if self._abandoned:
                raise TaskCancelled("nobody waits for this turn any more", task_id=entry.id)
            await self._check_age(lease, entry.since, deadline)
        except BaseException:  # nobody will run, so the turn is the next one's
            self._line.end(lease.id, lease.fence)
            raise
        self._keeper.held[lease.id] = self._lease = lease
        return lease

    async def enter_detached(self) -> Lease:
        """Take the turn without tying it to this task: a lost lease only shows in `lost`."""
        lease = await self.__aenter__()
        lease.detach()
        return lease

    def abandon(self) -> None:
        """Give back the turn if it is held, else when it comes, and wait for nothing."""
        self._abandoned = True
        lease, self._lease = self._lease, None
        if lease is not None:
            self._keeper.held.pop(lease.id, None)
            with contextlib.suppress(PeakError):
                self._line.end(lease.id, lease.fence)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lease = self._lease
        if lease is None:
            return
        self._lease = None
        self._keeper.held.pop(lease.id, None)
        if lease.lost:
            cancels_left = lease.take_back()
            in_time = False
            told_to_stop = kind is asyncio.CancelledError and cancels_left == 0
        else:
            in_time = await self._give_back(lease)
            told_to_stop = False
        if not in_time and (kind is None or told_to_stop):
            raise TaskLost("the lease of this slot ended before the block did", task_id=lease.id)

    async def _give_back(self, lease: Lease) -> bool:
        """Whether the lease lasted to the end; it goes back even if this is cancelled."""
        try:
            return await self._line.end(lease.id, lease.fence) != "STALE"
        except PeakError as error:
            log.warning("a slot could not be given back, it ends with its lease: %s", error)
            return True

    async def _check_age(self, lease: Lease, since: float, deadline: float) -> None:
        """Start only on a young grant: an old one is renewed first, since it may have ended."""
        now = self._line.loop.time()
        if (now - since) * 1000 <= self._line.inbox.lease_ms / 3:
            return
        renewal = self._line.commands.renew(self._line.caller.id, [(lease.id, lease.fence)])
        try:
            async with asyncio.timeout_at(max(deadline, now + _LEAST_S)):
                told = await renewal
        except TimeoutError:
            raise TaskExpired("the turn came too late to be used", task_id=lease.id) from None
        if told.words[0] != "OK":
            raise TaskLost("the turn came too late to be used", task_id=lease.id)
