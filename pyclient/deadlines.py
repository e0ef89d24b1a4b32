"""One timer for all calls whose time ends within the same 1/64 s: a timer each would be a tenth
of what a call costs its client. Hashed timing wheel: Varghese and Lauck, 1987, scheme 5.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from .entry import Entry

SLOTS_PER_S = 64


class Deadlines:
    """Calls `expire` for each entry that is still in it at its deadline, at most 1/64 s late;
    of one slot in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[Entry], None]) -> None:
        self._loop = loop
        self._expire = expire
        self._slots: dict[int, tuple[dict[Entry, None], asyncio.TimerHandle]] = {}

    def add(self, entry: Entry, at: float) -> int:
        """`at` is on the loop's clock; returns what `discard` wants to know."""
        number = math.ceil(at * SLOTS_PER_S)
        slot = self._slots.get(number)
        if slot is None:
            timer = self._loop.call_at(number / SLOTS_PER_S, self._end, number)
            slot = self._slots[number] = ({}, timer)
        slot[0][entry] = None
        return number

    def discard(self, entry: Entry, number: int) -> None:
        """It needs no deadline any more."""
        slot = self._slots.get(number)
        if slot is None:
            return
        slot[0].pop(entry, None)
        if not slot[0]:
            slot[1].cancel()
            del self._slots[number]

    def _end(self, number: int) -> None:
        for entry in self._slots.pop(number)[0]:
            self._expire(entry)
