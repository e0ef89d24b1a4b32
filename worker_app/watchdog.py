"""Ends a process that no longer does its work, or whose supervisor is gone.

A thread of its own, since the event loop may be what is stuck. What is leased goes to other
workers when the leases end.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import threading
import time

from .app import Worker

log = logging.getLogger("worker_app.watchdog")

STUCK = 70
"""Exit code: the worker itself did not move on (EX_SOFTWARE)."""
RECYCLED = 75
"""Exit code: a handler did not end; a new process should take over (EX_TEMPFAIL)."""
LOOK_S = 1.0
_SUSPENDED_S = 5.0
_MARGIN_S = 10.0


class Watchdog(threading.Thread):
    """Looks once a second. `lifeline` is a pipe whose other end the supervisor holds."""

    def __init__(self, worker: Worker, lifeline: int | None) -> None:
        super().__init__(name="peak-watchdog", daemon=True)
        self._worker = worker
        self._lifeline = lifeline

    def run(self) -> None:
        """Look until the process ends."""
        while True:
            before = time.monotonic()
            if self._orphaned():
                self._lifeline = None
                self._drain()
            if time.monotonic() - before > _SUSPENDED_S:
                continue  # this process was stopped: let the event loop come to itself first
            what, handler = self._worker.ailment(time.monotonic())
            if what:
                log.critical("%s: this process ends and is replaced", what)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(RECYCLED if handler else STUCK)

    def _orphaned(self) -> bool:
        """Wait for a second; whether the supervisor's end of the pipe closed meanwhile."""
        if self._lifeline is None:
            time.sleep(LOOK_S)
            return False
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        return bool(poll.poll(LOOK_S * 1000)) and os.read(self._lifeline, 1) == b""

    def _drain(self) -> None:
        """As on SIGTERM: what runs may have had its effect, so its answers are delivered."""
        log.critical("the supervisor is gone: this process finishes what runs, and ends")
        self._worker.stop()
        timer = threading.Timer(self._worker.drain_timeout + _MARGIN_S, os._exit, (STUCK,))
        timer.daemon = True
        timer.start()
