"""Blocking reads: hints that something waits, and cancels of what runs here.

Both are hints. A lost one costs an idle worker one poll (15 s), a lost cancel the time to the
next renewal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pyclient.connection import Backoff, Connection
from pyclient.errors import PeakError

log = logging.getLogger("worker_app.hints")

BLOCK_S = 15
LONG_S = 0.2


class Hints:
    """Two readers, each with a socket of its own; at most one of them waits.

    While slots are free and the line is empty: `BLPOP told wake`. While something has run for a
    moment: `BLPOP told`. A busy worker must not take hints: they belong to idle ones.
    `on_hint` is called when it is time to claim, `on_told` with the fence of a cancelled task.
    """

    def __init__(
        self,
        conn: Connection,
        told: bytes,
        wake: bytes,
        *,
        on_hint: Callable[[], None],
        on_told: Callable[[int], None],
    ) -> None:
        self._conn = conn
        self._told = told
        self._wake = wake
        self._on_hint = on_hint
        self._on_told = on_told
        self._idle = asyncio.Event()
        self._busy = asyncio.Event()
        self._reading = False

    @property
    def waiting(self) -> bool:
        """Whether a hint would be heard."""
        return self._reading

    def idle(self) -> None:
        """Wait for a hint from now on."""
        self._idle.set()

    def working(self) -> None:
        """Whoever works asks by itself: wait for no (further) hint."""
        self._idle.clear()

    def long(self) -> None:
        """Something runs for long: look out for its cancel."""
        if not self._reading:
            self._busy.set()

    async def listen(self) -> None:
        """Wait for hints whenever idle."""
        reader = self._conn.reader()
        backoff = Backoff()
        while True:
            await self._idle.wait()
            self._reading = True
            try:
                reply = await reader.read(b"BLPOP", self._told, self._wake, BLOCK_S)
                backoff.reset()
            except PeakError as error:
                log.warning("can't wait for hints: %s", error)
                await backoff.sleep()
                reply = None
            finally:
                self._reading = False
            if reply is None or reply[0] == self._wake:
                self._idle.clear()
                self._on_hint()
            else:
                self._hear(reply[1])

    async def listen_told(self) -> None:
        """Wait for cancels whenever something runs for long."""
        reader = self._conn.reader()
        backoff = Backoff()
        while True:
            await self._busy.wait()
            self._busy.clear()
            try:
                reply = await reader.read(b"BLPOP", self._told, BLOCK_S)
                backoff.reset()
            except PeakError as error:
                log.debug("can't wait for cancels: %s", error)
                await backoff.sleep()
                continue
            if reply is not None:
                self._busy.set()
                self._hear(reply[1])

    def _hear(self, told: bytes) -> None:
        _, _, fence = told.partition(b" ")
        if fence.isdigit():
            self._on_told(int(fence))
