"""A TCP proxy between a client and its server that breaks things on purpose.

    async with FaultProxy(server.url) as proxy:
        proxy.when(b"EVALSHA", "cut-after")
        client = Connection(proxy.url)

Rules look at what the client sends, chunk by chunk (a chunk is one write of the client, unless
it is larger than 64 KiB), and each fires `times` times.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

Action = Literal["cut-before", "cut-after", "mute"]
_CHUNK = 65536


@dataclass
class Rule:
    """What to do when the client sends `marker`.

    `cut-before`: the server never sees it. `cut-after`: the server answers, and the connection
    ends before the client reads a byte of that. `mute`: as that, but the connection stays open.
    """

    marker: bytes
    action: Action
    times: int


class FaultProxy:
    """The proxy; `delay` gives the seconds that each chunk of replies is late."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rules: list[Rule] = []
        self.delay: Callable[[], float] = float
        self.accepted = 0
        self.refusing = False
        self.url = ""

    def when(self, marker: bytes, action: Action, *, times: int = 1) -> None:
        """Add a rule."""
        self._rules.append(Rule(marker, action, times))

    def cut_all(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def __aenter__(self) -> FaultProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.accepted += 1
        try:
            if not self.refusing:
                await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a broken connection is what this is for
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await self._dial()
        self._writers.add(up_writer)
        muted = asyncio.Event()
        answered = asyncio.Event()
        back = asyncio.ensure_future(self._replies(up_reader, writer, muted, answered))
        try:
            while chunk := await reader.read(_CHUNK):
                action = self._action(chunk)
                if action == "cut-before":
                    return
                if action is not None:
                    muted.set()
                    answered.clear()
                up_writer.write(chunk)
                await up_writer.drain()
                if action == "cut-after":
                    await answered.wait()
                    return
        finally:
            back.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await back
            self._writers.discard(up_writer)
            up_writer.transport.abort()

    async def _replies(
        self,
        up_reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        muted: asyncio.Event,
        answered: asyncio.Event,
    ) -> None:
        while chunk := await up_reader.read(_CHUNK):
            answered.set()
            if muted.is_set():
                continue
            if late := self.delay():
                await asyncio.sleep(late)
            writer.write(chunk)
            await writer.drain()
        writer.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream.scheme == "unix":
            return await asyncio.open_unix_connection(self._upstream.path)
        return await asyncio.open_connection(self._upstream.hostname, self._upstream.port)

    def _action(self, chunk: bytes) -> Action | None:
        for rule in self._rules:
            if rule.times > 0 and rule.marker in chunk:
                rule.times -= 1
                return rule.action
        return None
