"""The same queue for code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from .errors import ConfigError
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
        self._starting = threading.Lock()

    @classmethod
    def from_url(
        cls, url: str = "embedded://", *, name: str = "default", prefix: str = "peak"
    ) -> SyncQueue:
        """See `Queue.from_url`."""
        return cls(Queue.from_url(url, name=name, prefix=prefix))

    def __enter__(self) -> SyncQueue:
        self.run(self._queue.open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.aclose()

    def aclose(self) -> None:
        """Close connections and end the thread."""
        with self._starting:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._queue.aclose(), loop).result()
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

    @contextmanager
    def slot(
        self, route: str = "", *, level: int = 3, tenant: str = "", timeout: float = 30.0
    ) -> Iterator[Lease]:
        """See `Queue.slot`; a lost lease shows in `lease.lost`, a thread can't be cancelled."""
        slot = self._queue.slot(route, level=level, tenant=tenant, timeout=timeout)
        lease = self.run(slot.enter_detached())
        try:
            yield lease
        finally:
            self.run(slot.__aexit__(None, None, None))

    def attach(self, task_id: str) -> SyncTicket:
        """See `Queue.attach`."""
        return SyncTicket(self, self.run(self._queue.attach(task_id)))

    def gauge(self) -> dict[str, Any]:
        """See `Queue.gauge`."""
        return self.run(self._queue.gauge())

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
        loop = self._running_loop()
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigError("a SyncQueue blocks: don't call it from its own event loop")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name="peak-sync", daemon=True
                )
                self._thread.start()
            return self._loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
