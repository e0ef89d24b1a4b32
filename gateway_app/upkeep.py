"""Keeps the queue's settings as ours, and knows whether Redis answers.

While it does not, requests are refused at once and not after each has waited for itself. On the
first start nothing is put in line before the limits are written. And it sweeps: where a gateway
died, and no worker or other request is there to do it, its requests would wait on, and run later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from pyclient.errors import PeakError
from pyclient.queue import Queue
from pyclient.settings import Settings

from .logs import LOGGER, fields

_LOOK_EVERY_S = 1.0
_ANSWER_WITHIN_S = 1.0
_FIRST_WITHIN_S = 10.0
_START_WAITS_S = 2.0


class Upkeep:
    """`up` says whether requests can be put in line; `suspect` has it looked at now."""

    def __init__(
        self, queue: Queue, gauge: Callable[[], Awaitable[dict[str, Any]]], settings: Settings
    ) -> None:
        self.up = False
        self._queue = queue
        self._gauge = gauge
        self._settings = settings
        self._log = logging.getLogger(LOGGER)
        self._configured = False
        self._timeouts = 0
        self._look = asyncio.Event()
        self._first = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, and wait a little for Redis; it may come later, too."""
        self._task = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), _START_WAITS_S)

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def suspect(self) -> None:
        """A call of the queue has found it unavailable."""
        self.up = False
        self._look.set()

    async def _run(self) -> None:
        # Nobody having swept for half a lease is taken for an outage.
        pause = min(_LOOK_EVERY_S, self._settings.lease / 4)
        while True:
            self._look.clear()
            await self._once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), pause)

    async def _once(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S if self._configured else _FIRST_WITHIN_S):
                if not self._configured or await self._forgotten():
                    await self._configure()
        except TimeoutError:
            self._timeouts += 1  # one slow answer is no outage
            if self._timeouts > 1:
                self._lost(f"no answer within {_ANSWER_WITHIN_S:g} s")
            return
        except PeakError as error:
            self._lost(str(error))
            return
        if not self.up and self._configured:
            self._log.info("the queue is back")
        self.up = self._configured = True
        self._timeouts = 0
        self._first.set()

    def _lost(self, why: str) -> None:
        if self.up or not self._first.is_set():
            self._log.error("the queue can't be reached", extra=fields(error=why))
        self.up = False
        self._first.set()

    async def _forgotten(self) -> bool:
        """Whether Redis has lost the capacity that we set; sweeps on the way."""
        found = await self._gauge()
        if found["waiting"] or found["running"] or found["due"]:
            await self._queue.sweep(slots=self._settings.mode == "hold")
        return bool(self._settings.max_queue) and found["capacity"] == 0

    async def _configure(self) -> None:
        settings = self._settings
        limit = settings.concurrency or 0
        step: float | str = "strict" if settings.level_step is None else settings.level_step
        await self._queue.configure(
            limit=limit,
            slots=limit,
            capacity=settings.max_queue,
            lease=settings.lease,
            level_step=step,
        )
