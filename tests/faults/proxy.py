"""A TCP fault proxy in a thread of the conductor: whoever connects through it can be hurt.

    with Proxy(server.url) as proxy:
        proxy.when(sha, "cut-after", times=3)
        with proxy.silent():
            ...

Rules look at what a client sends, one write after the other (a pipelined write of several
commands counts once). `fired` says how often a rule did something.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

Action = Literal["cut-before", "cut-after", "drop-reply", "late-reply"]
_CHUNK = 65536
_TICK_S = 0.01


@dataclass
class Rule:
    """What becomes of a write that holds `marker`.

    `cut-before`: the server never sees it. `cut-after`: the server answers, the connection ends
    before the client hears. `drop-reply`: this answer and all that follow are swallowed, and the
    connection stays (TCP loses nothing from the middle of a stream).
    `late-reply`: the answer comes `late_s` later.
    """

    marker: bytes
    action: Action
    times: int
    late_s: float
    fired: int = 0


@dataclass(eq=False)
class _Pair:
    """One connection and its other half."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    half_open: bool = False
    swallow: bool = False
    late_s: float = 0.0
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """RST to both."""
        self.near.transport.abort()
        self.far.transport.abort()


class Proxy:
    """See the module. `delay`: seconds that each chunk of replies is late; `resets`: how likely
    a chunk ends its connection instead; `bandwidth`: bytes a second each way, of all together."""

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        self._upstream = urlsplit(upstream)
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rules: list[Rule] = []
        self._silent = False
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._due = {"up": 0.0, "down": 0.0}
        self.delay: Callable[[random.Random], float] = lambda _: 0.0
        self.resets = 0.0
        self.bandwidth = 0.0
        self.accepted = 0
        self.url = ""

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- faults -----------------------------------------------------------------------------

    def when(self, marker: bytes, action: Action, *, times: int = 1, late_s: float = 0.0) -> Rule:
        """Add a rule."""
        rule = Rule(marker, action, times, late_s)
        self._rules.append(rule)
        return rule

    def calm(self) -> None:
        """No more rules."""
        self._rules.clear()

    def cut_all(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def half_open_all(self) -> int:
        """Let every present connection stay open and carry nothing more, for good; how many."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.half_open = True
        return len(pairs)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing gets through and nothing is closed: as a route into a black hole."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Connections are cut, and new ones refused."""
        self._refusing = True
        self.cut_all()
        try:
            yield
        finally:
            self._refusing = False

    # -- inside -----------------------------------------------------------------------------

    def _cut(self) -> None:
        for pair in list(self._pairs):
            pair.cut()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(_TICK_S)  # an aborted transport is closed a turn later

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            while self._silent:  # noqa: ASYNC110 - set from another thread
                await asyncio.sleep(_TICK_S)
            if not self._refusing:
                await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a broken connection is what this is for
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far = await self._dial()
        pair = _Pair(writer, far)
        self._pairs.add(pair)
        back = asyncio.ensure_future(self._replies(far_reader, pair))
        try:
            await self._requests(reader, pair)
        finally:
            self._pairs.discard(pair)
            back.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await back
            pair.cut()

    async def _requests(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._hold(pair)
            rule = self._rule(chunk)
            if rule is not None and rule.action == "cut-before":
                return
            pair.answered.clear()
            if rule is not None:
                pair.swallow = pair.swallow or rule.action != "late-reply"
                pair.late_s = rule.late_s
            await self._pace("up", len(chunk))
            pair.far.write(chunk)
            await pair.far.drain()
            if rule is not None and rule.action == "cut-after":
                await pair.answered.wait()
                return

    async def _replies(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while chunk := await reader.read(_CHUNK):
            pair.answered.set()
            if pair.swallow:
                continue
            late, pair.late_s = self.delay(self._random) + pair.late_s, 0.0
            if late > 0:
                await asyncio.sleep(late)
            await self._hold(pair)
            if self.resets and self._random.random() < self.resets:
                break
            await self._pace("down", len(chunk))
            pair.near.write(chunk)
            await pair.near.drain()
        pair.cut()

    async def _hold(self, pair: _Pair) -> None:
        """Carry nothing while the line is silent."""
        while self._silent or pair.half_open:  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(_TICK_S)

    async def _pace(self, way: str, size: int) -> None:
        """Wait until the line has room for so many bytes."""
        if not self.bandwidth:
            return
        now = self._loop.time()
        self._due[way] = max(now, self._due[way]) + size / self.bandwidth
        await asyncio.sleep(self._due[way] - now)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream.scheme == "unix":
            return await asyncio.open_unix_connection(self._upstream.path)
        return await asyncio.open_connection(self._upstream.hostname, self._upstream.port)

    def _rule(self, chunk: bytes) -> Rule | None:
        for rule in self._rules:
            if rule.fired < rule.times and rule.marker in chunk:
                rule.fired += 1
                return rule
        return None
