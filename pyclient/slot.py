"""Hold mode: the code stays where it is, and only its place in line travels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from .commands import Commands
from .connection import Connection
from .errors import PeakError, TaskExpired, TaskLost
from .keeper import Keeper
from .keys import Keys, new_task_id
from .line import Entry, Line
from .model import Outcome, Profile
from .outcome import error_of

log = logging.getLogger("pyclient.slot")


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


class SlotKeeper:
    """Renews the leases that this process holds, from the keeper's thread."""

    def __init__(self, line: Line, keeper: Keeper, keys: Keys) -> None:
        self.held: dict[str, Lease] = {}
        self._line = line
        self._keeper = keeper
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        keeper.add(self._renew)

    async def _renew(self, conn: Connection) -> float:
        from .queue import scripts

        commands = Commands(conn, scripts(), self._keys)
        held = list(self.held.values())
        for start in range(0, len(held), 64):
            some = held[start : start + 64]
            told = await commands.renew(
                self._line.caller.id, [(lease.id, lease.fence) for lease in some]
            )
            for lease, word in zip(some, told.words, strict=True):
                if word != "OK" and self.held.get(lease.id) is lease:
                    self._loop.call_soon_threadsafe(lease.lose)
        return self._line.inbox.lease_ms / 3000


class Slot:
    """The context manager of `Queue.slot`; use it once."""

    def __init__(
        self,
        line: Callable[[], Awaitable[tuple[Line, SlotKeeper]]],
        profile: Profile,
        timeout: float,
    ) -> None:
        self._open = line
        self._profile = profile
        self._timeout = timeout
        self._lease: Lease | None = None

    async def __aenter__(self) -> Lease:
        self._line, self._keeper = await self._open()
        loop = asyncio.get_running_loop()
        began = loop.time()
        entry = Entry(new_task_id(), self._profile, b"")
        future = self._line.submit(entry)
        timer = loop.call_later(self._timeout, self._expire, entry)
        try:
            value = await future
        except asyncio.CancelledError:
            self._line.forget(entry, "cancelled")
            raise
        finally:
            timer.cancel()
        word, _, rest = value.partition(b"\n")
        if word != b"granted":
            raise self._ended(entry.id, value)
        fence = int(rest.split()[0])
        lease = self._lease = Lease(entry.id, fence, round((loop.time() - began) * 1000))
        try:
            await self._check_age(lease)
        except BaseException:  # nobody will run, so the turn is the next one's
            self._line.end(lease.id, lease.fence)
            raise
        self._keeper.held[entry.id] = lease
        return lease

    async def enter_detached(self) -> Lease:
        """Take the turn without tying it to this task: a lost lease only shows in `lost`."""
        lease = await self.__aenter__()
        lease.detach()
        return lease

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lease = self._lease
        assert lease is not None
        self._keeper.held.pop(lease.id, None)
        if lease.lost:
            task = asyncio.current_task()
            if kind is asyncio.CancelledError and task is not None and task.uncancel() == 0:
                raise TaskLost("the lease of this slot was lost", task_id=lease.id)
            return
        await asyncio.shield(self._give_back(lease))

    async def _give_back(self, lease: Lease) -> None:
        try:
            await self._line.end(lease.id, lease.fence)
        except PeakError as error:
            log.warning("a slot could not be given back, it ends with its lease: %s", error)

    async def _check_age(self, lease: Lease) -> None:
        """Start only on a young grant: an old one is renewed first, since it may have ended."""
        inbox = self._line.inbox
        age = asyncio.get_running_loop().time() - inbox.fresh_since
        if age * 1000 <= inbox.lease_ms / 3:
            return
        told = await self._line.commands.renew(self._line.caller.id, [(lease.id, lease.fence)])
        if told.words[0] != "OK":
            raise TaskLost("the turn came too late to be used", task_id=lease.id)

    def _expire(self, entry: Entry) -> None:
        self._line.forget(entry, "expired")
        entry.fail(TaskExpired("no turn within the time-out", task_id=entry.id))

    @staticmethod
    def _ended(task_id: str, value: bytes) -> PeakError:
        return error_of(task_id, Outcome.of(value))
