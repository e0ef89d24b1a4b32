"""WebSocket through the line: after the handshake both connections are joined byte by byte.

Frames are not looked at, so that extensions, masks and fragments are between client and target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pyclient.http.envelope import Request
from pyclient.http.headers import Pairs
from pyclient.http.stream import Stream

from .asgi import Scope, Send
from .relay import answer_headers, pass_on
from .shared import Shared

_HIGH_WATER = 256 * 1024


class Tunnel:
    """The client's side: raw bytes through the server's protocol once it has handed over."""

    def __init__(self, transport: asyncio.Transport, drain: Callable[[], Any]) -> None:
        self._transport = transport
        self._drain = drain
        self._data = bytearray()
        self._ended = False
        self._paused = False
        self._more = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Bytes from the client; reading stops while too many lie here."""
        self._data += data
        if len(self._data) > _HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._more.set()

    def end(self) -> None:
        """The client's connection is over."""
        self._ended = True
        self._more.set()

    async def read(self) -> bytes:
        """What came from the client; empty at the end."""
        while not self._data and not self._ended:
            self._more.clear()
            await self._more.wait()
        data = bytes(self._data)
        self._data.clear()
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Bytes to the client, waiting while its buffer is full."""
        if not self._transport.is_closing():
            self._transport.write(data)
            await self._drain()

    def close(self) -> None:
        """Send what is left and close."""
        self._transport.close()


async def open_tunnel(
    shared: Shared,
    scope: Scope,
    send: Send,
    *,
    request: Request,
    upgrade: bytes,
    extra: Pairs,
    started: Callable[[], None],
) -> int:
    """Ask the target for the upgrade; join the connections, or pass on what it says instead."""
    request = request._replace(head=request.head + b"upgrade: %b\r\n" % upgrade)
    stream = await shared.client.open(
        shared.target,
        request,
        timeout=shared.settings.upstream_timeout,
        idle=True,
        may_upgrade=True,
    )
    try:
        if not stream.upgraded:
            await pass_on(scope, send, stream, extra)
            return stream.status
        started()
        tunnel: Tunnel = scope["extensions"]["peak.tunnel"]()
        await tunnel.write(_switching(scope, stream, upgrade))
        await _join(tunnel, stream)
        return 101
    finally:
        await stream.aclose()


def _switching(scope: Scope, stream: Stream, upgrade: bytes) -> bytes:
    """The answer 101 with the target's own headers."""
    pairs = answer_headers(scope, 101, stream.headers, None)
    named = [value for name, value in stream.headers if name.lower() == b"upgrade"]
    pairs = [(b"upgrade", named[0] if named else upgrade), (b"connection", b"upgrade"), *pairs]
    lines = [b"%b: %b\r\n" % pair for pair in pairs if pair[0] != b"content-length"]
    return b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % b"".join(lines)


async def _join(tunnel: Tunnel, stream: Stream) -> None:
    """Copy both ways until either side ends."""

    async def up() -> None:
        while data := await tunnel.read():
            await stream.write(data)

    async def down() -> None:
        async for data in stream:
            await tunnel.write(data)

    tasks = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.exception()  # how the end came about makes no difference to the other side
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tunnel.close()
