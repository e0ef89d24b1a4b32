"""One phase of round trips: so many calls always in flight, for so long.

Runs in the environment of the system on trial: standard library only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Any

from bench.harness.contract import Base, payload

OVERTIME_S = 10.0


class Phase:
    """Hands out payloads until the time is over, and keeps what came back and how long it took."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._number = 0
        self._took: list[float] = []
        self._errors = 0
        self._first_error = ""
        self._began = self._last = time.perf_counter()
        self._deadline = self._began + seconds

    def next(self) -> str | None:
        """The next payload; None when no more call is to be started."""
        if self._number >= self._most or time.perf_counter() >= self._deadline:
            return None
        self._number += 1
        return payload(self._number)

    def done(self, began: float, sent: str, got: object) -> None:
        """An answer came. A wrong one is an error, not a round trip."""
        now = time.perf_counter()
        if isinstance(got, bytes):
            got = got.decode()
        if got != sent:
            self.failed(ValueError(f"wrong echo: {got!r:.60}"))
            return
        self._last = now
        self._took.append(now - began)

    def failed(self, error: BaseException) -> None:
        """A call ended with an error."""
        self._errors += 1
        self._first_error = self._first_error or f"{type(error).__name__}: {error}"[:300]

    def report(self, hung: int = 0) -> dict[str, Any]:
        """Figures of the phase; times in seconds. `hung`: calls that did not end at all."""
        took = sorted(self._took)
        wall = max(self._last - self._began, 1e-9)

        def at(share: float) -> float | None:
            return took[min(len(took) - 1, int(len(took) * share))] if took else None

        return {
            "done": len(took),
            "errors": self._errors,
            "hung": hung,
            "first_error": self._first_error,
            "rate": len(took) / wall,
            "p50": at(0.5),
            "p90": at(0.9),
            "p99": at(0.99),
            "max": at(1.0),
        }


async def coroutines(adapter: Base, in_flight: int, most: int, seconds: float) -> dict[str, Any]:
    """Mode "async"."""
    phase = Phase(most, seconds)

    async def one() -> None:
        while (sent := phase.next()) is not None:
            began = time.perf_counter()
            try:
                phase.done(began, sent, await adapter.call(sent))
            except Exception as error:
                phase.failed(error)
                await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(one()) for _ in range(in_flight)]
    _, late = await asyncio.wait(tasks, timeout=seconds + OVERTIME_S)
    report = phase.report(len(late))
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=2)
    return report


def threads(adapter: Base, in_flight: int, most: int, seconds: float) -> dict[str, Any]:
    """Mode "threads"."""
    phase, lock = Phase(most, seconds), threading.Lock()

    def one() -> None:
        while True:
            with lock:
                sent = phase.next()
            if sent is None:
                return
            began = time.perf_counter()
            try:
                got = adapter.call(sent)
            except Exception as error:
                with lock:
                    phase.failed(error)
            else:
                with lock:
                    phase.done(began, sent, got)

    several = [threading.Thread(target=one, daemon=True) for _ in range(in_flight)]
    for thread in several:
        thread.start()
    end = time.perf_counter() + seconds + OVERTIME_S
    for thread in several:
        thread.join(max(0.0, end - time.perf_counter()))
    return phase.report(sum(thread.is_alive() for thread in several))


def window(adapter: Base, in_flight: int, most: int, seconds: float) -> dict[str, Any]:
    """Mode "window": answers are collected in the order of their submission."""
    phase = Phase(most, seconds)
    flight: deque[tuple[float, str, Any]] = deque()
    while True:
        while len(flight) < in_flight and (sent := phase.next()) is not None:
            flight.append((time.perf_counter(), sent, adapter.submit(sent)))
        if not flight:
            return phase.report()
        began, sent, handle = flight.popleft()
        try:
            phase.done(began, sent, adapter.result(handle))
        except Exception as error:
            phase.failed(error)
