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
        self._lock = threading.Lock()
        self._life: _Life | None = None
        self._asked = 0

    def add(self, job: Job) -> None:
        """Run `job` now and whenever it asks for. Errors are logged, and it runs again soon."""
        with self._lock:
            life = self._life
            if life is None or life.over or not life.thread.is_alive():
                life = self._life = _Life(self._url, self._lock)
            self._asked += 1
            life.wanted[job] = self._asked
            life.loop.call_soon_threadsafe(life.begin, job)

    def remove(self, job: Job) -> None:
        """End a job; unknown ones are ignored."""
        with self._lock:
            life = self._life
            if life is not None and not life.over:
                life.wanted.pop(job, None)
                life.loop.call_soon_threadsafe(life.end, job)

    def soon(self, job: Job) -> None:
        """Run a job now rather than when it asked for."""
        self.remove(job)
        self.add(job)

    def stop(self) -> None:
        """End all jobs and the thread; waits for it (it closes its sockets)."""
        with self._lock:
            life, self._life = self._life, None
            if life is None:
                return
            if not life.over:
                life.over = True
                life.loop.call_soon_threadsafe(life.ended.set)
        life.thread.join()


class _Life:
    """One run of the thread: loop, connection and tasks are its own, so that one that ends and the
    next share nothing. `wanted` (jobs, and the number of the last time each was asked for) and
    `over` belong to the keeper's lock: a thread decides to end only while nobody wants anything of
    it, and is asked for nothing from then on."""

    def __init__(self, url: str, lock: threading.Lock) -> None:
        self._url = url
        self._lock = lock
        self.wanted: dict[Job, int] = {}
        self.over = False
        self.ended = asyncio.Event()
        self.loop = asyncio.new_event_loop()
        self._tasks: dict[Job, asyncio.Task[None]] = {}
        self._unfinished: set[asyncio.Task[None]] = set()
        self._conn: Connection | None = None
        self.thread = threading.Thread(target=self._main, name="peak-keeper", daemon=True)
        try:
            self.thread.start()
        except BaseException:
            self.loop.close()
            raise

    def begin(self, job: Job) -> None:
        """In the loop: run it, if it does not run yet."""
        if not self.over and job not in self._tasks:
            task = self._tasks[job] = self.loop.create_task(self._repeat(job))
            self._unfinished.add(task)
            task.add_done_callback(self._unfinished.discard)

    def end(self, job: Job) -> None:
        """In the loop: run it no more."""
        task = self._tasks.pop(job, None)
        if task is not None:
            task.cancel()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live())
        finally:
            self.loop.close()

    async def _live(self) -> None:
        await self.ended.wait()
        tasks = list(self._unfinished)  # those that were ended just before among them
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._conn is not None:
            await self._conn.aclose()

    async def _repeat(self, job: Job) -> None:
        failing = False
        while True:
            asked, pause = self.wanted.get(job), _RETRY_S
            try:
                if self._conn is None:
                    self._conn = Connection(self._url, client_name="peak-keeper")
                await self._conn.open()
                again = await job(self._conn)
                if again is None:
                    break
                pause, failing = again, False
            except PeakError as error:
                log.log(
                    logging.DEBUG if failing else logging.WARNING, "can't keep alive: %s", error
                )
                failing = True
            except Exception:
                log.exception("can't keep alive, by a mistake of this program")
            await asyncio.sleep(pause)
        self._done(job, asked)

    def _done(self, job: Job, asked: int | None) -> None:
        """It wants to run no more; but if it was asked for while it ran, it may not know yet."""
        self._tasks.pop(job, None)
        with self._lock:
            if self.wanted.get(job, asked) != asked:
                self.begin(job)
                return
            self.wanted.pop(job, None)
            if not self.wanted:
                self.over = True
                self.ended.set()


def call_soon(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object
) -> None:
    """From the keeper's thread to the loop that it works for; nothing where that has ended."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        pass
