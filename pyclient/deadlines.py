"""One timer for all calls: set to the earliest deadline, it looks at all who wait when it fires.

A timer for each call would be a tenth of what the call costs its client. Most calls end long before
their deadline, so that a timer which is left behind by one of them comes once in a time-out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from .entry import Entry

LOOKS_PER_S = 64
_EARLY_S = 0.001
"""uvloop counts in whole milliseconds: a timer can fire so much before its time."""


class Deadlines:
    """Calls `expire` for each entry that is still in it at its deadline, at most 1/64 s late;
    of those that are late together in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[Entry], None]) -> None:
        self._loop = loop
        self._expire = expire
        self._waiting: dict[Entry, float] = {}
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: Entry, at: float) -> None:
        """`at` is on the loop's clock."""
        self._waiting[entry] = at
        if at < self._due:
            self._arm(at)

    def discard(self, entry: Entry) -> None:
        """It needs no deadline any more."""
        self._waiting.pop(entry, None)

    def close(self) -> None:
        """Nobody ends any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = at
        self._timer = self._loop.call_at(at + _EARLY_S, self._look)

    def _look(self) -> None:
        self._timer, self._due = None, math.inf
        now = self._loop.time()
        late = [entry for entry, at in self._waiting.items() if at <= now]
        for entry in late:
            del self._waiting[entry]
        if self._waiting:
            self._arm(max(min(self._waiting.values()), now + 1 / LOOKS_PER_S))
        for entry in late:
            self._expire(entry)
