"""Several gateway processes behind one listening socket, looked after by a parent.

The parent owns the socket and never serves. A child that dies is started again; children end when
the parent does, however it ends, since each holds one end of a pipe that only the parent holds
open. SIGTERM or SIGINT drains all, a second one ends the wait.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType

from pyclient.errors import ConfigError
from pyclient.settings import Settings, redis_address

from .logs import LOGGER, fields

_TOO_SOON_S = 3.0
_RESTART_PAUSE_S = 1.0
_KILL_AFTER_S = 5.0


def listen(settings: Settings) -> socket.socket:
    """The listening socket; raises ConfigError where the address can't be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror or error}"
        ) from None
    return sock


def address_of(sock: socket.socket) -> str:
    """`http://host:port` of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    began: float


class Supervisor:
    """Runs `count` children until a signal comes or none of them can start."""

    def __init__(self, settings: Settings, sock: socket.socket, count: int) -> None:
        if redis_address(settings).partition("?")[0] == "embedded://" and count > 1:
            raise ConfigError(
                "PEAK_REDIS_URL=embedded:// is private to one process: "
                "with -w 2 or more give it a directory, embedded:///var/lib/peak"
            )
        self._sock = sock
        self._count = count
        self._kill_after = settings.drain_timeout + _KILL_AFTER_S
        self._log = logging.getLogger(LOGGER)
        self._events: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        self._children: list[_Child] = []
        self._proven = False
        self._stopping = False
        self._failed = False
        self._read, self._write = os.pipe()

    def run(self) -> int:
        """Serve until told to stop; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        for _ in range(self._count):
            self._children.append(self._spawn())
        while self._children:
            self._hear(self._events.get())
        return 1 if self._failed else 0

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._events.put(None)

    def _spawn(self) -> _Child:
        fd = self._sock.fileno()
        command = [sys.executable, "-m", "gateway_app", "--fd", str(fd)]
        process = subprocess.Popen(
            [*command, "--parent-fd", str(self._read)],
            pass_fds=(fd, self._read),
            start_new_session=True,  # Ctrl-C is for the parent, who asks each child once
        )
        child = _Child(process, time.monotonic())
        threading.Thread(target=self._wait, args=(child,), daemon=True).start()
        return child

    def _wait(self, child: _Child) -> None:
        child.process.wait()
        self._events.put(child)

    def _hear(self, ended: _Child | None) -> None:
        """A child that ended, or None for a signal."""
        if ended is None:
            self._drain()
        else:
            self._ended(ended)

    def _ended(self, child: _Child) -> None:
        self._children.remove(child)
        code = child.process.returncode
        if self._stopping:
            # One that was still starting knows no signals yet: it had nothing to finish.
            self._failed = self._failed or code not in (0, -signal.SIGTERM)
            return
        alive_s = time.monotonic() - child.began
        self._log.error(
            "a gateway process ended", extra=fields(pid=child.process.pid, exit_code=code)
        )
        self._proven = self._proven or any(
            time.monotonic() - one.began >= _TOO_SOON_S for one in (child, *self._children)
        )
        if code in (1, 3) and not self._proven:
            self._failed = True  # it would fail again: a setting or the address is wrong
            self._drain()
            return
        time.sleep(_RESTART_PAUSE_S if alive_s < _TOO_SOON_S else 0)
        self._replace()

    def _replace(self) -> None:
        """Start one; where the system can't for the moment, try as long as nobody says stop."""
        while not self._stopping:
            try:
                self._children.append(self._spawn())
                return
            except OSError as error:
                self._log.error("a process can't be started", extra=fields(error=str(error)))
            with contextlib.suppress(queue.Empty):
                self._hear(self._events.get(timeout=_RESTART_PAUSE_S))

    def _drain(self) -> None:
        first = not self._stopping
        self._stopping = True
        self._sock.close()
        # SIGTERM may be sent to all processes at once: a child may get it twice, and drains.
        number = signal.SIGTERM if first else signal.SIGINT
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(number)
        if first:
            threading.Thread(target=self._kill_late, daemon=True).start()

    def _kill_late(self) -> None:
        time.sleep(self._kill_after)
        for child in list(self._children):
            child.process.kill()
