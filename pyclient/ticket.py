"""A task that was submitted: its state, its place in line, its result."""

from __future__ import annotations

import asyncio
from typing import Any

from . import codec
from .errors import TaskExpired
from .line import Entry, Line
from .model import Profile
from .outcome import Bodies

_STRANGER = Profile(3, "-", "", 1, 1, 0, 1, 1)


class Ticket:
    """Good for as long as the result is kept, in any process: see `Queue.attach`."""

    def __init__(self, line: Line, bodies: Bodies, task_id: str, entry: Entry | None = None):
        self._line = line
        self._bodies = bodies
        self._id = task_id
        self._entry = entry

    def __repr__(self) -> str:
        return f"Ticket({self.id!r})"

    @property
    def id(self) -> str:
        """The id of the task: 22 base64url characters."""
        return self._entry.id if self._entry is not None else self._id

    @property
    def admitted(self) -> asyncio.Future[None]:
        """Ends when the task was admitted, or with the refusal."""
        assert self._entry is not None
        assert self._entry.admitted is not None
        return self._entry.admitted

    async def result(self, timeout: float | None = None) -> Any:
        """The result, or the error of another outcome; waits for the end.

        After `timeout` seconds it raises TaskExpired; the task goes on, ask again.
        """
        entry = self._entry
        if entry is None or (entry.future.done() and entry.future.cancelled()):
            entry = self._entry = Entry(self._id, _STRANGER, b"")
            self._line.watch(entry, self._id)
        try:
            async with asyncio.timeout(timeout):
                value = await asyncio.shield(entry.future)
        except TimeoutError:
            raise TaskExpired(f"no result within {timeout:g} s", task_id=self.id) from None
        return codec.decode(await self._bodies.result(self.id, value, keep=True), what="result")

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
