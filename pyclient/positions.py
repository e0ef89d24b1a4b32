"""Where waiting tasks stand in line, asked for many of them at once.

A task that is served at once is never asked about. The rest are asked about once each, at most 64
in a call and one call in `PAUSE_S`, so that a peak costs Redis no more than a few percent of its
time: whoever does not come to be asked about has no position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice

from .commands import Commands
from .errors import PeakError

AFTER_S = 0.05
PAUSE_S = 0.05
_BATCH = 64


class Spot:
    """`before` is how many stood before the task when it was asked about, None if it was not."""

    __slots__ = ("_spots", "at", "before", "task_id")

    def __init__(self, spots: dict[str, Spot], task_id: str, at: float) -> None:
        self.before: int | None = None
        self.task_id = task_id
        self.at = at
        self._spots = spots
        spots[task_id] = self

    def leave(self) -> None:
        """It waits no more."""
        self._spots.pop(self.task_id, None)


class Positions:
    """`Queue.positions` makes one; it belongs to the event loop of the queue."""

    def __init__(
        self,
        commands: Callable[[str], Awaitable[Commands]],
        where: Callable[[str], str],
    ) -> None:
        self._commands = commands
        self._where = where
        self._spots: dict[str, Spot] = {}
        self._task: asyncio.Task[None] | None = None

    def watch(self, task_id: str) -> Spot:
        """Ask about a task that still waits in 50 ms. The caller leaves the spot."""
        loop = asyncio.get_running_loop()
        spot = Spot(self._spots, task_id, loop.time() + AFTER_S)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(loop))
        return spot

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """While any wait; those who came first are asked about first."""
        while self._spots:
            first = next(iter(self._spots.values()))
            await asyncio.sleep(max(PAUSE_S, first.at - loop.time()))
            now = loop.time()
            due = [spot for spot in islice(self._spots.values(), _BATCH) if spot.at <= now]
            for spot in due:
                spot.leave()
            places: dict[str, list[Spot]] = {}
            for spot in due:
                places.setdefault(self._where(spot.task_id), []).append(spot)
            for where, some in places.items():
                await self._ask(where, some)

    async def _ask(self, where: str, due: list[Spot]) -> None:
        try:
            commands = await self._commands(where)
            said = await commands.fetch("position", [spot.task_id for spot in due])
        except PeakError:
            return
        for spot, value in zip(due, said, strict=True):
            if value.isdigit():
                spot.before = int(value)

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
