"""peakshaver itself: `pyclient.Queue` submits, `worker_app.Worker` serves, both as users have them.

`ten` spreads the tasks over ten routes; `limits` sets a limit and a capacity for the queue, and a
concurrency and a room for each of ten routes, all above what is used.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from bench.harness.contract import Base, tick
from pyclient import Queue
from worker_app import Worker

ROUTES = [f"route-name-{digit}" for digit in range(10)]
KEEP_S = 60
BACKLOG = 1_000_000  # others have no limit at all; ours is 10,000 unless set


async def echo(payload: object) -> object:
    """Nothing to do: what is measured is the way there and back."""
    tick()
    return payload


QUEUE = "line"  # its first three shards lie on three nodes of three
SHARDS = int(os.environ.get("BENCH_SHARDS", "1"))
worker = Worker(QUEUE, shards=SHARDS)
for name in ROUTES:
    worker.route(name)(echo)


class Adapter(Base):
    """One `call` a round trip; a backlog by `submit_many`."""

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"routes": 1},
        "ten": {"routes": 10},
        "limits": {"routes": 10, "limits": True},
    }

    def run_worker(self) -> None:
        os.environ["PEAK_REDIS_URL"] = self.url
        served = ("-m", "worker_app", "bench.adapters.peakshaver:worker", "-p", "1")
        count = str(self.worker_concurrency)
        os.execv(sys.executable, [sys.executable, *served, "-c", count])

    async def open(self, concurrency: int) -> None:
        self._queue = Queue.from_url(self.url, name=QUEUE, shards=SHARDS)
        await self._queue.open()
        self._routes = itertools.cycle(ROUTES[: self.options["routes"]])
        await self._queue.configure(capacity=BACKLOG)
        if self.options.get("limits"):
            each = dict.fromkeys(ROUTES, 100_000)
            await self._queue.configure(limit=100_000, concurrency=each, room=each)

    async def call(self, payload: str) -> object:
        return await self._queue.call(next(self._routes), payload)

    async def enqueue(self, payloads: Sequence[str]) -> None:
        await self._queue.submit_many(next(self._routes), payloads, timeout=600, keep=KEEP_S)

    async def close(self) -> None:
        await self._queue.aclose()
