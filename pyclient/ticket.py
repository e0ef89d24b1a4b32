"""A task that was submitted: its state, its place in line, its result."""

from __future__ import annotations

import asyncio
from typing import Any

from . import codec
from .entry import Entry
from .errors import TaskExpired, Unavailable
from .line import Line
from .model import Profile
from .profiles import to_ms

_STRANGER = Profile(3, "-", "", 1, 1, 0, 1, 1)


class Ticket:
    """Good for as long as the result is kept, in any process: see `Queue.attach`."""

    def __init__(self, line: Line, task_id: str, entry: Entry | None = None) -> None:
        self._line = line
        self._entry = entry
        self.id = task_id
        """The id of the task: 22 base64url characters."""

    def __repr__(self) -> str:
        return f"Ticket({self.id!r})"

    async def result(self, timeout: float | None = None) -> Any:
        """The result, or the error of another outcome; waits for the end.

        After `timeout` seconds it raises TaskExpired; the task goes on, ask again. Where Redis
        does not know the task (any more) it is TaskExpired as well, and StateLost where it should.
        """
        seconds = None if timeout is None else to_ms(timeout) / 1000
        entry = self._waiting()
        try:
            async with asyncio.timeout(seconds):
                value = await asyncio.shield(entry.future)
        except TimeoutError:
            raise TaskExpired(f"no result within {seconds:g} s", task_id=self.id) from None
        return codec.decode(await self._line.bodies.result(self.id, value), what="result")

    async def position(self) -> int | None:
        """How many tasks stand before it; None where it does not wait (any more)."""
        value = (await self._line.commands.fetch("position", [self.id]))[0]
        return None if value == b"gone" else int(value)

    async def state(self) -> str:
        """`waiting`, `due`, `running`, an outcome's word, or `gone`."""
        value = (await self._line.commands.fetch("state", [self.id]))[0]
        return value.partition(b"\n")[0].decode()

    async def cancel(self) -> bool:
        """Take it out of the line, or tell its worker; False where it has ended already."""
        return await self._line.cancel(self.id, "cancelled") != "GONE"

    def _waiting(self) -> Entry:
        """Whoever waits now, or a new one where there is none or the last had no luck."""
        entry = self._entry
        if entry is not None:
            done = entry.future.done()
            if not done or not isinstance(entry.future.exception(), Unavailable | TaskExpired):
                return entry
        entry = Entry(self.id, _STRANGER, b"")
        self._line.watch(entry)  # may raise: then the next to ask tries again
        self._entry = entry
        return entry
