"""A coroutine that one thread waits for and the event loop of another runs.

As `asyncio.run_coroutine_threadsafe`, but Ctrl-C can come between any two steps of the waiting
thread: whatever was begun by then is cancelled.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from .entry import closed

T = TypeVar("T")


class Crossing(Generic[T]):
    """`start` and `cancel` run in the loop, in whatever order; `wait` in the other thread."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._unwanted = False
        self._end: concurrent.futures.Future[T] = concurrent.futures.Future()

    def wait(self) -> T:
        """Its result or error; Unavailable where the loop ended first."""
        return self._end.result()

    def start(self) -> None:
        """Begin, unless it was cancelled before."""
        if self._unwanted:
            self._work.close()
        else:
            self._task = asyncio.get_running_loop().create_task(self._work)
            self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Nobody waits."""
        self._unwanted = True
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[T]) -> None:
        error = closed() if task.cancelled() else task.exception()
        if error is not None:
            self._end.set_exception(error)
        else:
            self._end.set_result(task.result())
