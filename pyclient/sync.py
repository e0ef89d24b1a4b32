"""The same queue for code without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from .crossing import Crossing
from .entry import closed
from .errors import ConfigError, PeakError
from .model import Bucket, Verdict
from .queue import Queue
from .slot import Lease
from .ticket import Ticket

T = TypeVar("T")


class SyncTicket:
    """`Ticket`, blocking."""

    def __init__(self, owner: SyncQueue, ticket: Ticket) -> None:
        self._owner = owner
        self._ticket = ticket

    @property
    def id(self) -> str:
        """The id of the task."""
        return self._ticket.id

    def result(self, timeout: float | None = None) -> Any:
        """See `Ticket.result`."""
        return self._owner.run(self._ticket.result(timeout))

    def position(self) -> int | None:
        """See `Ticket.position`."""
        return self._owner.run(self._ticket.position())

    def state(self) -> str:
        """See `Ticket.state`."""
        return self._owner.run(self._ticket.state())

    def cancel(self) -> bool:
        """See `Ticket.cancel`."""
        return self._owner.run(self._ticket.cancel())


class SyncQueue:
    """The verbs of `Queue`, blocking; safe to use from any number of threads.

    The work is done by an event loop in a thread of its own, so calls of several threads
    travel in common batches.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._closed = False
        self._changing = threading.Lock()

    @classmethod
    def from_url(
        cls,
        url: str = "embedded://",
        *,
        name: str = "default",
        prefix: str = "peak",
        durability: str | None = None,
        shards: int = 1,
    ) -> SyncQueue:
        """See `Queue.from_url`."""
        queue = Queue.from_url(url, name=name, prefix=prefix, durability=durability, shards=shards)
        return cls(queue)

    def __enter__(self) -> SyncQueue:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.aclose()

    def open(self) -> None:
        """See `Queue.open`."""
        self._closed = False
        self.run(self._queue.open())

    def aclose(self) -> None:
        """Close connections and end the thread; calls of other threads get Unavailable."""
        if threading.current_thread() is self._thread:
            raise ConfigError("a SyncQueue blocks: don't close it from its own event loop")
        with self._changing:
            self._closed = True
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._queue.aclose(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def call(
        self,
        route: str,
        payload: object = None,
        *,
        level: int = 3,
        tenant: str = "",
        timeout: float = 30.0,
        key: str | None = None,
    ) -> Any:
        """See `Queue.call`."""
        return self.run(
            self._queue.call(route, payload, level=level, tenant=tenant, timeout=timeout, key=key)
        )

    def submit(
        self,
        route: str,
        payload: object = None,
        *,
        level: int = 3,
        tenant: str = "",
        timeout: float = 30.0,
        key: str | None = None,
        keep: float = 3600.0,
    ) -> SyncTicket:
        """See `Queue.submit`."""
        ticket = self._queue.submit(
            route, payload, level=level, tenant=tenant, timeout=timeout, key=key, keep=keep
        )
        return SyncTicket(self, self.run(ticket))

    def submit_many(
        self,
        route: str,
        payloads: Iterable[object],
        *,
        level: int = 3,
        tenant: str = "",
        timeout: float = 30.0,
        keep: float = 3600.0,
    ) -> list[SyncTicket]:
        """See `Queue.submit_many`."""
        tickets = self._queue.submit_many(
            route, payloads, level=level, tenant=tenant, timeout=timeout, keep=keep
        )
        return [SyncTicket(self, ticket) for ticket in self.run(tickets)]

    @contextlib.contextmanager
    def slot(
        self, route: str = "", *, level: int = 3, tenant: str = "", timeout: float = 30.0
    ) -> Iterator[Lease]:
        """See `Queue.slot`. A thread can't be cancelled: that the lease was lost shows in
        `lease.lost`, and as TaskLost at the end of the block."""
        slot = self._queue.slot(route, level=level, tenant=tenant, timeout=timeout)
        try:
            try:
                yield self.run(slot.enter_detached())
            except BaseException as error:
                with contextlib.suppress(PeakError):  # what went wrong in the block counts
                    self.run(slot.__aexit__(type(error), error, None))
                raise
            self.run(slot.__aexit__(None, None, None))
        except BaseException:  # Ctrl-C may have come between any two steps
            with contextlib.suppress(PeakError):
                self._schedule(slot.abandon)
            raise

    def attach(self, task_id: str) -> SyncTicket:
        """See `Queue.attach`."""
        return SyncTicket(self, self.run(self._queue.attach(task_id)))

    def gauge(self, *, slots: bool = False) -> dict[str, Any]:
        """See `Queue.gauge`."""
        return self.run(self._queue.gauge(slots=slots))

    def sweep(self, *, slots: bool = False) -> None:
        """See `Queue.sweep`."""
        self.run(self._queue.sweep(slots=slots))

    def configure(
        self,
        *,
        limit: int | None = None,
        slots: int | None = None,
        capacity: int | None = None,
        reserve: Sequence[int] | None = None,
        lease: float | None = None,
        level_step: float | str | None = None,
        concurrency: Mapping[str, int] | None = None,
        room: Mapping[str, int] | None = None,
    ) -> None:
        """See `Queue.configure`."""
        self.run(
            self._queue.configure(
                limit=limit,
                slots=slots,
                capacity=capacity,
                reserve=reserve,
                lease=lease,
                level_step=level_step,
                concurrency=concurrency,
                room=room,
            )
        )

    def take(self, buckets: Sequence[tuple[Bucket, int]]) -> list[Verdict]:
        """See `Queue.take`."""
        return self.run(self._queue.take(buckets))

    def pause(self, reason: str = "") -> None:
        """See `Queue.pause`."""
        self.run(self._queue.pause(reason))

    def resume(self) -> None:
        """See `Queue.resume`."""
        self.run(self._queue.resume())

    def close(self, reason: str = "") -> None:
        """See `Queue.close`: the line, not this object (that is `aclose`)."""
        self.run(self._queue.close(reason))

    def revive(self, task_id: str) -> SyncTicket:
        """See `Queue.revive`."""
        return SyncTicket(self, self.run(self._queue.revive(task_id)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the wrapped queue in its thread, and wait for it."""
        crossing = Crossing(work)
        try:
            self._schedule(crossing.start)
        except Exception:  # it was not begun; after Ctrl-C one can't know
            work.close()
            raise
        except BaseException:
            self._cancel(crossing)
            raise
        try:
            return crossing.wait()
        except BaseException:
            self._cancel(crossing)
            raise

    def _schedule(self, step: Callable[[], None]) -> None:
        with self._changing:  # what is begun before `aclose` is ended by it
            if threading.current_thread() is self._thread:
                raise ConfigError("a SyncQueue blocks: don't call it from its own event loop")
            if self._closed:
                raise closed()
            if self._loop is None:
                self._begin()
            elif self._pid != os.getpid():
                raise ConfigError(
                    "this queue was opened before a fork: make another in the child process"
                )
            assert self._loop is not None
            self._loop.call_soon_threadsafe(step)

    def _cancel(self, crossing: Crossing[Any]) -> None:
        try:
            self._schedule(crossing.cancel)
        except PeakError:
            pass  # the loop has ended, and all that ran in it

    def _begin(self) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run_loop, args=(loop,), name="peak-sync", daemon=True)
        try:
            thread.start()
        except BaseException:
            loop.close()
            raise
        self._loop, self._thread, self._pid = loop, thread, os.getpid()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
