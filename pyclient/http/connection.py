"""One kept-alive HTTP/1.1 connection to a target, upon asyncio and httptools.

A connection carries one exchange at a time and hands what arrives to a *sink* (sinks.py,
stream.py). Header pairs are the bytes that the target sent; no body is decoded or decompressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from .errors import UpstreamBroke, UpstreamError, UpstreamTimeout
from .headers import answer_framing
from .sinks import Pairs, Sink

MAX_HEAD_BYTES = 128 * 1024
MAX_HEADER_LINES = 500
_NO_BODY = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """The protocol. `on_idle` is called when it can carry the next exchange, `on_lost` at its end.

    `answered` says whether any byte of an answer to the present exchange has arrived: until then
    a request on a reused connection may never have been seen by the target.
    """

    def __init__(
        self,
        on_idle: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._head_only = False
        self._may_upgrade = False
        self._idle = False
        self.sending = False
        self.answered = False
        self.tunnel = False
        self.keep_alive_s = 0.0
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._headers: Pairs = []
        self._reason = b""
        self._status = 0
        self._raw = 0
        self._keep = False
        self._until_close = False
        self._done = False
        self._error: UpstreamError | None = None

    # What a client does.

    @property
    def closed(self) -> bool:
        """Whether it can't carry a further exchange."""
        return self._transport is None or self._transport.is_closing()

    def start(
        self,
        sink: Sink,
        *,
        head_only: bool,
        timeout: float,
        idle: bool = False,
        may_upgrade: bool = False,
    ) -> None:
        """Begin an exchange; `head_only` for HEAD.

        The time runs to the end of the answer or, if `idle`, between two signs of life in
        either direction.
        """
        self._reset()
        self._sink = sink
        self._head_only = head_only
        self._may_upgrade = may_upgrade
        self.answered = False
        self._timeout = timeout
        self._idle = idle
        self._alive = self._loop.time() if idle else 0.0
        self._timer = self._loop.call_later(max(timeout, 0.0), self._expire)

    def touch(self) -> None:
        """A sign of life, for exchanges whose time runs between two of them."""
        if self._idle:
            self._alive = self._loop.time()

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes; see `drain`."""
        if self._transport is not None:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the transport takes more; returns at once when it is lost."""
        if self._write_paused and not self.closed:
            self._writable = self._loop.create_future()
            await self._writable

    def fileno(self) -> int:
        """The descriptor of the socket, -1 where there is none."""
        sock = self._transport.get_extra_info("socket") if self._transport else None
        return sock.fileno() if sock is not None else -1

    def pause_reading(self) -> None:
        if not self.closed and self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.closed and self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once; whoever waits for the exchange is not told."""
        self._stop_timer()
        self._sink = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            self.abort()  # nobody asked: a late error page, or an attempt to poison the next answer
            return
        self.answered = True
        if self._idle:
            self._alive = self._loop.time()
        if self.tunnel:
            self._sink.data(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._error = self._error or UpstreamBroke(f"the target's answer is not HTTP: {error}")
        if self._error is not None:
            self.fail(self._error)
        elif self._done:
            self._finish()
        elif not self._status:
            self._raw += len(data)
            if self._raw > 2 * MAX_HEAD_BYTES:
                self.fail(UpstreamBroke("the head of the target's answer has no end"))
        elif self._status == 101:
            self._upgrade(b"")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.resume_writing()
        if self._sink is not None:
            if exc is None and (self._until_close or self.tunnel) and self._error is None:
                self._finish()
            else:
                self.fail(UpstreamBroke("the target closed the connection before its answer ended"))
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # httptools

    def on_message_begin(self) -> None:
        if self._done:
            self._broke("the target sent more than one answer")
        self._headers = []
        self._reason = b""

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # else a trailer, which is no header
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 and status != 101:
            return  # interim answers are between us and the target
        headers = self._headers
        size = sum([len(name) + len(value) for name, value in headers])
        if size > MAX_HEAD_BYTES or len(headers) > MAX_HEADER_LINES or status > 599:
            self._broke(f"the head of the target's answer ({status}) is out of bounds")
        elif status == 101 and not self._may_upgrade:
            self._broke("the target switched protocols without being asked")
        framed, keep_alive_s, fault = answer_framing(headers)
        self.keep_alive_s = keep_alive_s or self.keep_alive_s
        if fault:
            self._broke(fault)
        if self._error is not None:
            return
        self._status = status
        self._keep = self._parser.should_keep_alive()
        self._until_close = not framed and status not in _NO_BODY
        if self._sink is not None:
            self._sink.head(status, self._reason, headers)
        if self._head_only:
            # The parser can't be told that no body follows: a new one for the next answer.
            self._done = True
            self._until_close = False
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, body: bytes) -> None:
        if self._done:
            self._broke("the target sent a body where there is none")
        elif self._sink is not None and self._error is None:
            self._error = self._sink.data(body)

    def on_message_complete(self) -> None:
        if self._status and self._status != 101:
            self._done = True

    # Ends of an exchange.

    def _broke(self, text: str) -> None:
        """Found while parsing; `data_received` fails the exchange by it."""
        self._error = UpstreamBroke(text)

    def _upgrade(self, rest: bytes) -> None:
        if self._status != 101 or self._sink is None or not self._may_upgrade:
            self.fail(UpstreamBroke("the target switched protocols without being asked"))
            return
        self.tunnel = True
        if rest:
            self._sink.data(rest)

    def _finish(self) -> None:
        self._stop_timer()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.end()
        transport = self._transport
        if transport is None:
            return
        keep = self._keep and not self.sending and not self._until_close and not self.tunnel
        if keep and not transport.is_closing() and not transport.get_write_buffer_size():
            self._on_idle(self)
        else:
            transport.close()

    def fail(self, error: UpstreamError) -> None:
        """Drop the connection and end the exchange with `error`."""
        self._stop_timer()
        sink, self._sink = self._sink, None
        if self._transport is not None:
            self._transport.abort()
        if sink is not None:
            sink.fail(error)

    def _expire(self) -> None:
        self._timer = None
        if self._idle:
            left = self._alive + self._timeout - self._loop.time()
            if left > 0:
                self._timer = self._loop.call_later(left, self._expire)
                return
        what = "nothing moved for" if self._idle else "no complete answer within"
        self.fail(UpstreamTimeout(f"the target is too slow: {what} {self._timeout:.3g} s"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
