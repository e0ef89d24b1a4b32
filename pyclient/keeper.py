"""A thread that keeps things alive: inboxes and leases, also while the event loop is blocked.

It has an event loop and a connection of its own. A job is a coroutine function that gets the
connection and returns after how many seconds it wants to run again, or None where it has done.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from .connection import Connection
from .errors import PeakError

log = logging.getLogger("pyclient.keeper")

Job = Callable[[Connection], Awaitable[float | None]]

_RETRY_S = 0.5


class Keeper:
    """Runs jobs until they are removed; the thread begins with the first and ends at `stop`, or
    with the last job that has done. It holds no process open."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._jobs: dict[Job, asyncio.Task[None]] = {}
        self._conn: Connection | None = None

    def add(self, job: Job) -> None:
        """Run `job` now and whenever it asks for. Errors are logged, and it runs again soon."""
        if self._thread is None or not self._thread.is_alive():
            loop, self._ended = asyncio.new_event_loop(), asyncio.Event()
            thread = threading.Thread(
                target=self._main, args=(loop, self._ended), name="peak-keeper", daemon=True
            )
            try:
                thread.start()
            except BaseException:
                loop.close()
                raise
            self._loop, self._thread = loop, thread
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
        loop, self._loop = self._loop, None
        if thread is None or loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._ended.set)
        except RuntimeError:
            pass  # the last job has done, and the thread ends by itself
        thread.join()

    def _begin(self, job: Job) -> None:
        if job not in self._jobs:
            self._jobs[job] = asyncio.get_running_loop().create_task(self._repeat(job))

    def _end(self, job: Job) -> None:
        task = self._jobs.pop(job, None)
        if task is not None:
            task.cancel()

    async def _repeat(self, job: Job) -> None:
        failing = False
        while True:
            pause: float | None = _RETRY_S
            try:
                if self._conn is None:
                    self._conn = Connection(self._url, client_name="peak-keeper")
                await self._conn.open()
                pause = await job(self._conn)
                failing = False
            except PeakError as error:
                log.log(
                    logging.DEBUG if failing else logging.WARNING, "can't keep alive: %s", error
                )
                failing = True
            except Exception:
                log.exception("can't keep alive, by a mistake of this program")
            if pause is None:
                break
            await asyncio.sleep(pause)
        self._jobs.pop(job, None)
        if not self._jobs:
            self._ended.set()

    def _main(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._live(ended))
        finally:
            loop.close()

    async def _live(self, ended: asyncio.Event) -> None:
        await ended.wait()
        tasks = list(self._jobs.values())
        self._jobs.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._conn is not None:
            await self._conn.aclose()
            self._conn = None


def call_soon(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object
) -> None:
    """From the keeper's thread to the loop that it works for; nothing where that has ended."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        pass
