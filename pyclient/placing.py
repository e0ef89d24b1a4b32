"""Places: room taken before the task exists, handed on to tasks, and given back.

A place counts at once, in the queue's capacity and in its route's room. A task that is admitted
with it takes over its count, until the place is left and the task has ended, in whichever order
that happens. Leaving cancels a task that still waits and lets go one that runs.

Calls of `place` are not numbered (0): an id makes both of them repeatable, and so places of one
client travel side by side where numbered calls would go one by one.
"""

from __future__ import annotations

import asyncio
import logging

from .entry import SENDING, Entry, refusal
from .errors import PeakError, TaskCancelled, Unavailable
from .keys import new_task_id
from .line import Line
from .model import Profile
from .wire import Backoff

log = logging.getLogger("pyclient.placing")

_LEAVE_S = 600.0


class Place:
    """Room for one task at a time. `busy` is the task that has it, as far as is known."""

    __slots__ = ("busy", "id", "names", "route")

    def __init__(self, place_id: str, route: str) -> None:
        self.id = place_id
        self.route = route
        self.busy: Entry | None = None
        self.names = [place_id]

    def entry(self, profile: Profile, body: bytes) -> Entry:
        """The next task of this place: submit it to the line that the place is in, and call
        `free` once it has ended.

        The first task has the id of the place; a later one gives the place its own.
        """
        assert self.busy is None
        task_id = self.id
        if len(self.names) > 1:
            task_id = new_task_id()
        self.names.append(task_id)
        entry = Entry(task_id, profile._replace(options=f"place={self.id}"), body)
        entry.lone = False  # leaving the place takes it out of the line
        entry.admitted = asyncio.get_running_loop().create_future()
        self.busy = entry
        return entry

    def free(self) -> None:
        """Its task has ended, or was not admitted: the place can be handed on again."""
        if self.busy is not None and self.busy.acked:
            self.id = self.busy.id
        self.busy = None


class Places:
    """Takes and leaves places for the caller of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._leaving: set[asyncio.Task[None]] = set()

    async def take(self, route: str, *, level: int = 0) -> Place:
        """Room for one task of `route`. Raises Refused, Unavailable.

        Where that is unknown (or the caller is cancelled) the place is given back.
        """
        place = Place(new_task_id(), route)
        try:
            word = await self._ask("take", place.id, route, level)
            if word == "NOINBOX":
                await self._line.inbox.attach()
                word = await self._ask("take", place.id, route, level)
        except asyncio.CancelledError:
            self.leave(place)
            raise
        except Unavailable as error:
            if error.unknown:
                self.leave(place)
            raise
        if word not in ("OK", "KNOWN"):
            kind, _, rest = word.partition(" ")
            raise refusal(kind, rest, Profile(level, route, "", 1, 1, 0, 1, 0))
        return place

    def leave(self, place: Place) -> asyncio.Task[None]:
        """Give it back, whatever becomes of whoever asks; Redis being away, as soon as it is
        there. The task may be awaited; cancelling that wait (shield it) changes nothing."""
        task = asyncio.get_running_loop().create_task(self._leave(place))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    async def aclose(self) -> None:
        """Stop giving back: what is left goes with the inbox of this client."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _leave(self, place: Place) -> None:
        entry = place.busy
        sending = entry is not None and self._withdraw(entry)
        backoff = Backoff()
        try:
            async with asyncio.timeout(_LEAVE_S):
                # Under which of its names Redis knows it depends on which admits it has seen.
                for name in dict.fromkeys(place.names):
                    while True:
                        try:
                            await self._ask("leave", name, place.route, after_admit=sending)
                            break
                        except Unavailable:
                            await backoff.sleep()
        except (TimeoutError, PeakError) as error:
            log.warning("a place of route %s could not be left: %s", place.route, error)

    def _withdraw(self, entry: Entry) -> bool:
        """Nobody waits for it any more; whether it is being admitted right now."""
        self._line.inbox.discard(entry)
        entry.fail(TaskCancelled("withdrawn", task_id=entry.id))  # what has ended is not admitted
        return entry.state == SENDING

    async def _ask(
        self, action: str, name: str, route: str, level: int = 0, *, after_admit: bool = False
    ) -> str:
        """Call `place`; `after_admit` has it wait until an admit in flight has its reply."""

        async def send(number: int) -> str:
            next_ms, word = await self._line.commands.place(
                self._line.caller.id, number, "pull", action, name, route, level
            )
            self._line.sweeper.note(next_ms)
            return word

        return await self._line.caller.run(send) if after_admit else await send(0)


__all__ = ["Place", "Places"]
