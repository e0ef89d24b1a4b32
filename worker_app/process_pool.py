"""A small pool of processes for handlers that compute.

A child gets the handler's name and the encoded body over a socket of its own and answers with
encoded bytes; nothing is pickled. It is started by exec, when first needed, imports the handler's
module, and ends with this process, whatever ends that. One that is late or unwanted is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from pyclient.codec import decode, encode

from .context import Retry
from .failures import RemoteError
from .held import Held

HEAD_BYTES = 4


class ProcessPool:
    """At most `size` children, each with one task at a time."""

    def __init__(self, size: int) -> None:
        self._room = asyncio.Semaphore(size)
        self._idle: list[Child] = []

    async def run(self, held: Held, body: bytes) -> bytes:
        """The encoded answer. Raises RemoteError, or Retry where the handler did."""
        async with self._room:
            child = await self._take()
            held.called = True
            try:
                answer = await child.ask(_job(held, body))
            except BaseException:
                child.kill()
                raise
            self._idle.append(child)
        return _answer(answer)

    async def aclose(self) -> None:
        """Kill the idle ones; a task that is cancelled has killed its own."""
        while self._idle:
            self._idle.pop().kill()

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive():
                return child
            child.kill()
        return await Child.start()


class Child:
    """One process and the socket to it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> Child:
        """Start one; it is of the caller's path and environment, and ignores Ctrl-C."""
        ours, theirs = socket.socketpair()
        with theirs:
            path = os.pathsep.join(part or os.getcwd() for part in sys.path)
            process = subprocess.Popen(  # noqa: ASYNC220 - milliseconds, and once a child
                [sys.executable, "-m", "worker_app.process_child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": path},
                process_group=0,
            )
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            process.kill()
            process.wait()
            raise
        return cls(process, reader, writer)

    def alive(self) -> bool:
        """Whether its process runs, as far as one can know; its end of the socket closes first."""
        return not self._reader.at_eof() and self._process.poll() is None

    async def ask(self, message: bytes) -> Any:
        """Send one job and wait for its answer. Raises RemoteError where the process died."""
        try:
            self._writer.write(len(message).to_bytes(HEAD_BYTES) + message)
            await self._writer.drain()
            size = int.from_bytes(await self._reader.readexactly(HEAD_BYTES))
            return decode(await self._reader.readexactly(size), what="answer of a process")
        except (asyncio.IncompleteReadError, OSError):
            self.kill()
            raise RemoteError(f"its process ended: {_ending(self._process.returncode)}") from None

    def kill(self) -> None:
        """End it at once, unless it has ended, and reap it."""
        self._writer.transport.abort()
        try:
            # One that died by itself gets the moment to say how.
            self._process.wait(0.05 if self._reader.at_eof() else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _job(held: Held, body: bytes) -> bytes:
    route, leased = held.route, held.leased
    context = None
    if route.with_context:
        context = [leased.id, leased.route, leased.level, leased.tenant]
        context += [leased.attempt, leased.fence, held.deadline, None]
    again = [f"{one.__module__}:{one.__qualname__}" for one in route.retry_on]
    return encode([route.target, body, context, again, route.raw], what="job")


def _answer(message: Any) -> bytes:
    word, *rest = message
    if word == "done":
        body: bytes = rest[0]
        return body
    if word == "retry":
        raise Retry(rest[1], reason=rest[0])
    raise RemoteError(rest[0])


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
