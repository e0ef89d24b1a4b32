"""Answers passed on while they arrive, and request bodies sent while they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from .connection import Connection
from .errors import UpstreamBroke, UpstreamError
from .sinks import Pairs

_HIGH_WATER = 256 * 1024


class Stream:
    """A sink and the answer in one: status and headers at once, the body as it arrives.

    Reading from the target stops while more than 256 KiB lie unread. `aclose` must be called;
    closing before the end drops the connection, so that the target learns of it.
    """

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.reason = b""
        self.headers: Pairs = []
        self.upgraded = False
        self.started: asyncio.Future[None] = loop.create_future()
        self.upload: asyncio.Task[None] | None = None
        self._connection = connection
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._more: asyncio.Future[None] | None = None

    # The sink.

    def head(self, status: int, reason: bytes, headers: Pairs) -> None:
        self.status, self.reason, self.headers = status, reason, headers
        self.upgraded = status == 101
        if not self.started.done():
            self.started.set_result(None)

    def data(self, chunk: bytes) -> UpstreamError | None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > _HIGH_WATER and not self._paused:
            self._paused = True
            self._connection.pause_reading()
        self._wake()
        return None

    def end(self) -> None:
        self._ended = True
        self._resume()  # the connection may carry another exchange before this one is read
        self._wake()

    def fail(self, error: Exception) -> None:
        """End with an UpstreamError, or with what the iterator of the request's body raised."""
        self._error = error
        self._ended = True
        if not self.started.done():
            self.started.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    # The answer.

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            chunk = await self.read()
            if not chunk:
                return
            yield chunk

    async def read(self) -> bytes:
        """What has arrived, at least one byte; empty at the end. Raises as `fail` was told."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._more = self._loop.create_future()
            await self._more
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._connection.touch()  # the reader is alive, too
        self._resume()
        return data

    @property
    def ended(self) -> bool:
        """Whether all of the answer has come and was read."""
        return self._ended and self._error is None and not self._chunks

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._connection.resume_reading()

    async def write(self, data: bytes) -> None:
        """Send bytes through an upgraded connection."""
        self._connection.write(data)
        await self._connection.drain()
        self._connection.touch()

    async def aclose(self) -> None:
        """End the exchange; drops the connection unless the answer has been read to its end."""
        if self.upload is not None and not self.upload.done():
            self.upload.cancel()
        if not self._ended:
            self._connection.abort()
            self._ended = True
            self._wake()
        if not self.started.done():
            self.started.cancel()


async def send_body(connection: Connection, body: AsyncIterator[bytes], length: int | None) -> None:
    """Send a body as it comes: as it is where `length` announced it, chunked otherwise.

    A body that ends early or runs over is not repaired: the connection is dropped, so that the
    target can't take half a body for a whole one.
    """
    connection.sending = True
    sent = 0
    try:
        async for chunk in body:
            if not chunk:
                continue
            sent += len(chunk)
            if length is not None and sent > length:
                raise UpstreamBroke(f"the body is longer than the {length} bytes announced")
            connection.write(chunk if length is not None else b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await connection.drain()
            connection.touch()
            if connection.closed:
                return
        if length is None:
            connection.write(b"0\r\n\r\n")
        elif sent != length:
            raise UpstreamBroke(f"the body ended after {sent} of {length} bytes")
    except BaseException:
        connection.abort()
        raise
    connection.sending = False
