"""The client's sockets: HTTP/1.1 by hand, kept alive, and never more than so many."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_HEAD_BYTES = 65_536


class Answer(NamedTuple):
    """What came back."""

    status: int
    retry_after: int | None


Heard = Callable[[Answer | None], None]


class Wire(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._data = bytearray()
        self._heard: Heard | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        # uvloop's transports are no subclass of it.
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, heard: Heard) -> None:
        """Send a request; `heard` gets its answer, or None where the connection broke."""
        assert self._transport is not None
        self._heard = heard
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        if self._heard is None:
            self.abort()  # nobody asked: it could be taken for the next answer
            return
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        if head < 0:
            if len(self._data) > _HEAD_BYTES:
                self.abort()
            return
        found = bytes(self._data[: head + 2])
        length = _LENGTH.search(found)
        if length is None and _CHUNKED.search(found):
            whole = self._data.endswith(b"0\r\n\r\n")
        else:
            whole = len(self._data) >= head + 4 + (int(length[1]) if length else 0)
        if whole:
            self._data.clear()
            self._ended(found)

    def _ended(self, head: bytes) -> None:
        retry = _RETRY.search(head)
        heard, self._heard = self._heard, None
        assert heard is not None
        if _CLOSE.search(head):
            self.abort()
        else:
            self._wires.free(self)
        heard(Answer(int(head[9:12]), int(retry[1]) if retry else None))

    def abort(self) -> None:
        """Give up: what is on it is not answered any more."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Also after `abort`."""
        self._transport = None
        heard, self._heard = self._heard, None
        self._wires.lost(self)
        if heard:
            heard(None)


class Wires:
    """A pool: idle ones are used again, new ones made up to `limit`, then requests wait."""

    def __init__(self, host: str, port: int, limit: int) -> None:
        self._host, self._port, self._limit = host, port, limit
        self._open = 0
        self.made = 0
        self._idle: list[Wire] = []
        self._waiting: deque[Errand] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, request: bytes, heard: Heard) -> Errand:
        """Send as soon as a connection is to be had."""
        errand = Errand(request, heard)
        if self._idle:
            errand.take(self._idle.pop())
        elif self._open < self._limit:
            self._connect(errand)
        else:
            self._waiting.append(errand)
        return errand

    def free(self, wire: Wire) -> None:
        """A wire has done its request."""
        while self._waiting:
            errand = self._waiting.popleft()
            if not errand.dropped:
                errand.take(wire)
                return
        self._idle.append(wire)

    def lost(self, wire: Wire) -> None:
        """A wire is gone."""
        if wire in self._idle:
            self._idle.remove(wire)
        self._gone()

    def _gone(self) -> None:
        """There is room for another connection."""
        self._open -= 1
        while self._waiting and self._open < self._limit:
            errand = self._waiting.popleft()
            if not errand.dropped:
                self._connect(errand)

    def _connect(self, errand: Errand) -> None:
        self._open += 1
        self.made += 1
        task = asyncio.get_running_loop().create_task(self._connected(errand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, errand: Errand) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, wire = await loop.create_connection(lambda: Wire(self), self._host, self._port)
        except OSError:
            if not errand.dropped:
                errand.heard(None)
            self._gone()
            return
        if errand.dropped:
            self.free(wire)
        else:
            errand.take(wire)

    async def aclose(self) -> None:
        """Close what is idle and stop connecting."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self._idle.copy():
            wire.abort()
        await asyncio.sleep(0)


class Errand:
    """A request on its way to a connection, or on one."""

    __slots__ = ("_wire", "dropped", "heard", "request")

    def __init__(self, request: bytes, heard: Heard) -> None:
        self.request = request
        self.heard = heard
        self.dropped = False
        self._wire: Wire | None = None

    def take(self, wire: Wire) -> None:
        """Go out on this one."""
        self._wire = wire
        wire.ask(self.request, self._answered)

    def _answered(self, answer: Answer | None) -> None:
        self._wire = None
        if not self.dropped:
            self.heard(answer)

    def drop(self) -> None:
        """Give up on it, as a user who closes the page."""
        self.dropped = True
        if self._wire is not None:
            self._wire.abort()
