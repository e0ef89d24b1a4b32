"""Runs N worker processes: starts them, replaces the dead, passes signals on.

It imports nothing of the handlers and holds no connection: there is little that could end it. A
child learns by a pipe that its supervisor is gone, also after kill -9: it finishes what runs, and
ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence

from pyclient.connection import Backoff

from .watchdog import RECYCLED

log = logging.getLogger("worker_app.supervisor")

MISCONFIGURED = 78
"""Exit code of a child: settings or Worker are wrong, and it has said how (EX_CONFIG)."""
_MARGIN_S = 10.0
_PROVEN_S = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """`command` starts one child; `--lifeline FD` is added to it."""

    def __init__(self, command: Sequence[str], processes: int, *, drain_timeout: float) -> None:
        self._command = list(command)
        self._processes = processes
        self._drain_timeout = drain_timeout
        self._children: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._proven = False
        self._code = 0

    async def run(self) -> int:
        """Until a signal, then until the children have ended; the exit code."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        lifeline, ours = os.pipe()
        try:
            slots = [asyncio.create_task(self._slot(lifeline)) for _ in range(self._processes)]
            await self._stopping.wait()
            # A child bounds its own end; this is for one that can't any more.
            _, late = await asyncio.wait(slots, timeout=self._drain_timeout + _MARGIN_S)
            if late:
                log.error("%d processes did not end in time: killed", len(self._children))
                self._code = 1
                self._send(signal.SIGKILL)
                await asyncio.wait(slots)
        finally:
            os.close(ours)
            os.close(lifeline)
        return self._code

    async def _slot(self, lifeline: int) -> None:
        """One child after the other."""
        backoff = Backoff(base=0.5, cap=30.0)
        while not self._stopping.is_set():
            began = time.monotonic()
            code: int | None
            try:
                code = await self._one(lifeline)
            except OSError as error:  # no memory, no process, no program for the moment
                log.error("a process can't be started: %s", error)
                code = None
            lived = time.monotonic() - began
            if self._stopping.is_set():
                if code not in (0, None, -signal.SIGTERM):
                    log.warning("a process ended with %s", code)
                return
            if code == MISCONFIGURED and not self._proven:
                self._code = 1  # it has said what is wrong, and would say so again
                self._stop()
                return
            if lived > _PROVEN_S:
                self._proven = True
                backoff.reset()
            pause = 0.0 if code == RECYCLED and lived > 1 else backoff.next()
            if code is not None:
                log.warning("a process ended with %s: replaced in %.1f s", code, pause)
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def _one(self, lifeline: int) -> int:
        # A process group of its own: Ctrl-C reaches the supervisor alone, and counts once.
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "--lifeline",
            str(lifeline),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(lifeline,),
            process_group=0,
        )
        self._children[process.pid] = process
        try:
            if self._stopping.is_set():
                process.terminate()
            return await process.wait()
        finally:
            del self._children[process.pid]

    def _signalled(self) -> None:
        again = self._stopping.is_set()
        log.info("stopping %s", "at once" if again else "when what runs has ended")
        # SIGTERM may be sent to all processes at once: a child may get it twice, and drains.
        self._stop(signal.SIGINT if again else signal.SIGTERM)

    def _stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._stopping.set()
        self._send(number)

    def _send(self, number: signal.Signals) -> None:
        for process in list(self._children.values()):
            try:
                process.send_signal(number)
            except ProcessLookupError:
                pass
