"""A thread that keeps things alive: inboxes and leases, also while the event loop is blocked.

It has an event loop and a connection of its own. A job is a coroutine function that gets the
connection and returns after how many seconds it wants to run again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from .connection import Connection
from .errors import PeakError

log = logging.getLogger("pyclient.keeper")

Job = Callable[[Connection], Awaitable[float]]

_RETRY_S = 0.5


class Keeper:
    """Runs jobs until they are removed; the thread begins with the first and ends at `stop`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._jobs: dict[Job, asyncio.Task[None]] = {}
        self._conn: Connection | None = None

    def add(self, job: Job) -> None:
        """Run `job` now and whenever it asks for. Errors of Redis are tried again soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="peak-keeper", daemon=True)
            self._thread.start()
            self._started.wait()
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin, job)

    def remove(self, job: Job) -> None:
        """End a job; unknown ones are ignored."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end, job)

    def soon(self, job: Job) -> None:
        """Run a job now rather than when it asked for."""
        self.remove(job)
        self.add(job)

    def stop(self) -> None:
        """End all jobs and the thread; waits for it (it closes its sockets)."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()

    def _begin(self, job: Job) -> None:
        if job not in self._jobs:
            assert self._loop is not None
            self._jobs[job] = self._loop.create_task(self._repeat(job))

    def _end(self, job: Job) -> None:
        task = self._jobs.pop(job, None)
        if task is not None:
            task.cancel()

    async def _repeat(self, job: Job) -> None:
        while True:
            try:
                if self._conn is None:
                    self._conn = Connection(self._url, client_name="peak-keeper")
                await self._conn.open()
                pause = await job(self._conn)
            except PeakError as error:
                log.warning("can't keep alive: %s", error)
                pause = _RETRY_S
            await asyncio.sleep(pause)

    def _main(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._loop = loop
        self._started.set()
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(self._close())
            loop.close()
            self._loop = None
            self._started.clear()

    async def _close(self) -> None:
        tasks = list(self._jobs.values())
        self._jobs.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._conn is not None:
            await self._conn.aclose()
            self._conn = None
