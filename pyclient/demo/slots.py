"""A toy of an API's inside: so many slots at full speed, and beyond them everybody is slower.

Processor sharing: with n pieces of work and c slots each advances at min(1, c/n) of full speed.
Work that has begun is done to its end, whether anybody still waits for it or not.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable


class Slots:
    """The work in flight; times are seconds of the running loop."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.in_flight = 0
        self.max_in_flight = 0
        self.done = 0
        self._work = 0.0  # full-speed seconds that each piece in flight has got so far
        self._seen = 0.0
        self._order = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, work_s: float, finished: Callable[[], None]) -> None:
        """Take in a piece of work; `finished` is called when it is done."""
        self._advance()
        self._order += 1
        heapq.heappush(self._heap, (self._work + work_s, self._order, finished))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self._plan()

    def reset(self) -> None:
        """Forget all work and counts."""
        self._heap.clear()
        self.in_flight = self.max_in_flight = self.done = 0
        self._plan()

    def _speed(self) -> float:
        return min(1.0, self.slots / self.in_flight) if self.in_flight else 1.0

    def _advance(self) -> None:
        now = asyncio.get_running_loop().time()
        self._work += (now - self._seen) * self._speed()
        self._seen = now

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            left = max(self._heap[0][0] - self._work, 0.0) / self._speed()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._seen + left, self._finish)

    def _finish(self) -> None:
        self._timer = None
        self._advance()
        ended = []
        while self._heap and self._heap[0][0] <= self._work + 1e-9:
            ended.append(heapq.heappop(self._heap)[2])
        self.in_flight -= len(ended)
        self.done += len(ended)
        for finished in ended:
            finished()
        self._plan()
