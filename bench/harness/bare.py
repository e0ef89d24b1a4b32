"""The leanest client of Redis in Python: hiredis's parser upon one protocol, the writes of a loop
turn joined. No time-outs, no reconnection: a ceiling to measure against, not something to use."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import hiredis

from pyclient.commands import scripts
from pyclient.scripts import Script

Arg = str | bytes | int


class Bare(asyncio.Protocol):
    """One connection; replies come in order."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, port: int) -> Bare:
        """Connect to loopback."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            future = self._waiting.popleft()
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def call(self, *args: Arg) -> asyncio.Future[Any]:
        """Send one command at the end of this turn."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(hiredis.pack_command(args))  # type: ignore[arg-type]
        return future

    async def load(self, *names: str) -> dict[str, str]:
        """Load scripts of ours; their SHAs by name."""
        loaded: dict[str, str] = {}
        for name in names:
            script: Script = scripts()[name]
            await self.call(b"SCRIPT", b"LOAD", script.text)
            loaded[name] = script.sha
        return loaded

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()
