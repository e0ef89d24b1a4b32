"""Where an answer goes while it arrives: the protocol, and the sink that gathers a whole one."""

from __future__ import annotations

import asyncio
from typing import Protocol

from .errors import ResponseTooLarge, UpstreamError

Pairs = list[tuple[bytes, bytes]]


class Sink(Protocol):
    """Takes one answer: a head, then data, then an end; or a failure at any point."""

    def head(self, status: int, reason: bytes, headers: Pairs) -> None: ...
    def data(self, chunk: bytes) -> UpstreamError | None: ...
    def end(self) -> None: ...
    def fail(self, error: UpstreamError) -> None: ...


class Response:
    """A whole answer."""

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, reason: bytes, headers: Pairs, body: bytes = b"") -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


class Buffer:
    """A sink that gathers an answer of at most `limit` body bytes into a future."""

    __slots__ = ("_chunks", "_limit", "_response", "_size", "future")

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Response] = loop.create_future()
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0

    def head(self, status: int, reason: bytes, headers: Pairs) -> None:
        self._response = Response(status, reason, headers)

    def data(self, chunk: bytes) -> UpstreamError | None:
        self._size += len(chunk)
        if self._size > self._limit:
            return ResponseTooLarge(f"the answer is longer than {self._limit} bytes")
        self._chunks.append(chunk)
        return None

    def end(self) -> None:
        chunks = self._chunks
        self._response.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if not self.future.done():
            self.future.set_result(self._response)

    def fail(self, error: UpstreamError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
