"""A tiny worker, and a queue with one: what the tests of the client share."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from pyclient import Queue, codec
from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.errors import Unavailable
from pyclient.keys import Keys
from pyclient.model import Leased
from pyclient.numbered import NumberedCaller
from pyclient.outcome import is_large
from pyclient.sweeper import Sweeper
from tests.servers import PATIENCE_S

Handler = Callable[[Any], Any]


def echo(payload: Any) -> Any:
    """The handler where none is given."""
    return payload


class TinyWorker:
    """Claims, runs `handle(payload)`, publishes. It survives anything but its own end."""

    def __init__(
        self, url: str, name: str, handle: Handler = echo, *, level: int = 9, limit: int = 64
    ) -> None:
        self.url = url
        self.keys = Keys("peak", name)
        self.handle = handle
        self.seen: list[Leased] = []
        self._level = level
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> TinyWorker:
        self.conn = Connection(self.url)
        await self.conn.open()
        self.commands = Commands(self.conn, scripts(), self.keys)
        self.caller = NumberedCaller()
        self.sweeper = Sweeper(self.commands.sweep)
        self._spawn(self._loop())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.sweeper.aclose()
        await self.conn.aclose()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _loop(self) -> None:
        reader = self.conn.reader()
        while True:
            try:
                claimed = await self.caller.run(
                    lambda n: self.commands.claim(self.caller.id, n, self._limit, self._level)
                )
                self.sweeper.note(claimed.next_ms)
                for task in claimed.tasks:
                    self.seen.append(task)
                    self._spawn(self._run(task))
                if not claimed.tasks:
                    await reader.read(b"BLPOP", self.keys.wake(self._level), 0.2)
            except Unavailable:
                await asyncio.sleep(0.02)

    async def _run(self, task: Leased) -> None:
        word, body = "done", b""
        try:
            payload = codec.decode(await self._body(task))
            result = self.handle(payload)
            if inspect.isawaitable(result):
                result = await result
            raw = task.body[:1] in (b"r", b"R")
            body = b"r" + result if raw else codec.encode(result)
            if len(body) > codec.INLINE_BYTES:
                key = self.keys.answer_body(task.id)
                await self.conn.command(b"SET", key, body[1:], b"PX", 60_000)
                body = body[:1].upper()
        except Exception as error:
            word, body = "failed", f"{type(error).__name__}: {error}".encode()
        outcome = (task.id, task.fence, word, body)
        await self.caller.run(
            lambda n: self.commands.publish(self.caller.id, n, 0, 9, [outcome]), patience=20
        )

    async def _body(self, task: Leased) -> bytes:
        if not is_large(task.body):
            return task.body
        data: bytes = await self.conn.command(b"GET", self.keys.request_body(task.id))
        return task.body[:1].lower() + data


@contextlib.asynccontextmanager
async def served(
    url: str, name: str, handle: Handler = echo, **options: Any
) -> AsyncIterator[tuple[Queue, TinyWorker]]:
    """An open queue, and a worker that serves it."""
    async with (
        TinyWorker(url, name, handle, **options) as worker,
        Queue.from_url(url, name=name) as queue,
    ):
        yield queue, worker


async def until(
    condition: Callable[[], Any], *, timeout: float = PATIENCE_S, what: str = ""
) -> Any:
    """Poll until it holds (it may be a coroutine function); returns what it said."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while True:
        said = condition()
        if inspect.isawaitable(said):
            said = await said
        if said:
            return said
        if loop.time() > end:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}")
        await asyncio.sleep(0.01)


async def waiting(queue: Queue, count: int) -> None:
    """Until so many tasks wait."""

    async def enough() -> bool:
        return bool((await queue.gauge())["waiting"] == count)

    await until(enough, what=f"{count} waiting tasks")
