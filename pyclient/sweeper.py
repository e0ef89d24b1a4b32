"""Someone has to sweep: whoever hears `next_ms` sees to it, jittered so that few meet."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from .errors import PeakError

log = logging.getLogger("pyclient.sweeper")

_RETRY_MS = 1000
_GATE_MS = 300


class Sweeper:
    """Calls `sweep` (which answers next_ms and more) when one is due."""

    def __init__(self, sweep: Callable[[], Awaitable[tuple[int, bool]]]) -> None:
        self._sweep = sweep
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._wanted = False
        self._failing = False

    def note(self, next_ms: int) -> None:
        """A reply said `next_ms`; 0 asks for nothing."""
        if next_ms <= 0 or self._closed or self._task is not None:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + next_ms * 0.001
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due + next_ms * 0.00025 * random.random()
        self._timer = loop.call_at(self._due, self._begin)

    def soon(self) -> None:
        """Sweep now: a reply said `more`. The gate may be shut; then again when it is open."""
        self._wanted = True
        self.note(1)

    async def aclose(self) -> None:
        """End; a sweep in flight is abandoned."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        next_ms, more, wanted = _RETRY_MS, True, self._wanted
        self._wanted = False
        try:
            while more:
                next_ms, more = await self._sweep()
            self._failing = False
        except PeakError as error:
            next_ms = _RETRY_MS
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "can't sweep: %s", error)
            self._failing = True
        except Exception:
            next_ms = _RETRY_MS
            log.exception("can't sweep, by a mistake of this program")
        finally:
            self._task = None
        if wanted:
            next_ms = min(next_ms or _GATE_MS, _GATE_MS)
        elif self._wanted:
            next_ms = 1
        self.note(next_ms)
