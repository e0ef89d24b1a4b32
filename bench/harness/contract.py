"""What an adapter is, and the counter that its handler keeps.

An adapter is one file `bench/adapters/NAME.py` with a class `Adapter(Base)`. It is imported in the
system's own environment only, by its worker process and by its submitter process, so this module
needs nothing but the standard library.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

PAYLOAD_BYTES = 200


def payload(number: int) -> str:
    """A task's payload: 200 bytes, no two the same in a phase."""
    head = f"{number:012d}:"
    return head + "x" * (PAYLOAD_BYTES - len(head))


class Tick:
    """How many tasks were handled, and when the first and the last were.

    It lies in a mapped file, so that the harness can time a drain whatever a system stores or
    reports: the monotonic clock is one for all processes of a machine.
    """

    _row = struct.Struct("<Qdd")

    def __init__(self, path: str | Path) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), self._row.size)
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path) -> Tick:
        """A counter at zero."""
        path.write_bytes(cls._row.pack(0, 0.0, 0.0))
        return cls(path)

    def add(self) -> None:
        """One more was handled."""
        now = time.monotonic()
        with self._lock:
            count, first, _ = self._row.unpack_from(self._map)
            self._row.pack_into(self._map, 0, count + 1, first or now, now)

    def read(self) -> tuple[int, float, float]:
        """Count, time of the first, time of the last."""
        count, first, last = self._row.unpack_from(self._map)
        return count, first, last


_tick: Tick | None = None


def tick() -> None:
    """To be called by the handler, once a task."""
    global _tick
    if _tick is None:
        _tick = Tick(os.environ["BENCH_TICK"])
    _tick.add()


class Base:
    """A system on trial. Fill in `run_worker`, `open`, `call` and `enqueue`."""

    #: How the submitter is driven: "async" (the methods are coroutines), "threads" (blocking
    #: calls, one thread each) or "window" (`submit` and `result`, one thread for all in flight).
    mode: ClassVar[str] = "async"
    #: Name of a variant -> its options (`self.options`). Run as NAME or NAME.VARIANT.
    variants: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}

    def __init__(self, variant: str = "default") -> None:
        if variant not in self.variants:
            raise SystemExit(f"no variant {variant!r}: expected one of {', '.join(self.variants)}")
        self.options = self.variants[variant]
        self.port = int(os.environ["BENCH_PORT"])
        self.url = os.environ.get("BENCH_URL") or f"redis://127.0.0.1:{self.port}/0"
        #: redis-py caps a pool at 100 connections and raises past it: for systems that open one a
        #: waiter, the cap is raised in the address.
        self.wide_url = f"{self.url}?max_connections=4000"
        #: Tasks that the worker may run at once: coroutines, and threads.
        self.worker_concurrency = int(os.environ.get("BENCH_CONCURRENCY", "128"))
        self.worker_threads = int(os.environ.get("BENCH_THREADS", "8"))

    def run_worker(self) -> None:
        """Serve until SIGTERM; the handler calls `tick()` and returns what it got."""
        raise NotImplementedError

    def open(self, concurrency: int) -> Any:
        """Connect; so many calls will be in flight at most."""

    def call(self, payload: str) -> Any:
        """Submit one task, wait, return its result: the payload."""
        raise NotImplementedError

    def submit(self, payload: str) -> Any:
        """Mode "window": submit one task, return a handle for `result`."""
        raise NotImplementedError

    def result(self, handle: Any) -> Any:
        """Mode "window": the result of a task, waited for."""
        raise NotImplementedError

    def enqueue(self, payloads: Sequence[str]) -> Any:
        """Submit all in the quickest way that the system offers; results are not awaited."""
        raise NotImplementedError

    def close(self) -> Any:
        """Disconnect."""
