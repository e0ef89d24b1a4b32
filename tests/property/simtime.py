"""An event loop whose time is virtual: it never sleeps, and the same program runs the same way.

Where nothing is ready, time jumps to the next timer. Tasks hash by the order in which they were
made rather than by their address, so that sets of them are walked in the same order each time.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import selectors
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")
# Who started a task: set by an actor, inherited by all that it starts.
NODE: contextvars.ContextVar[set[asyncio.Task[Any]] | None] = contextvars.ContextVar(
    "NODE", default=None
)


class StandstillError(AssertionError):
    """Everybody waits and no timer is set: in real life this would hang for ever."""


class _NoSockets(selectors.SelectSelector):
    """Instead of waiting for sockets, moves the clock."""

    loop: SimLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StandstillError("everybody waits, and there is no timer")
        if timeout > 0:
            self.loop.now += timeout
        return []


class SimTask(asyncio.Task[T]):
    """A task with a number for a hash."""

    def __init__(self, coro: Any, *, number: int, **options: Any) -> None:
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.SelectorEventLoop):
    """Virtual time, one thread: what goes to a thread elsewhere runs here at once."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _NoSockets()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-6  # a timer that is this close is due
        self._numbers = itertools.count(1)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self.now

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody has to be woken."""

    def _make_task(
        self,
        _loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,
    ) -> SimTask[T]:
        task: SimTask[T] = SimTask(coro, number=next(self._numbers), loop=self, **options)
        mine = NODE.get()
        if mine is not None:
            mine.add(task)
            task.add_done_callback(mine.discard)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        future.set_result(func(*args))
        return future


class Clock:
    """Stands for the module `time` in what is simulated."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        """The loop's time."""
        return self._loop.now
