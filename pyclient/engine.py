"""What stands behind one `Queue`: its connection, its two lines, and the thread that keeps them.

It belongs to the event loop that opened it. It opens by itself at the first use, but not again
after `aclose`: who closes it wants to hear of whoever still uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from .commands import Commands, scripts
from .connection import Connection
from .entry import closed, copy_of
from .errors import ConfigError, PeakError, Unavailable
from .keeper import Job, Keeper, call_soon
from .keys import Keys, shorten
from .line import Line
from .outcome import Bodies
from .shards import check_shards, keys_of
from .slot import SlotKeeper
from .spread import Spread

_REFRESH_S = 5.0


class Engine:
    """Opens and closes; hands out lines and commands by mode, `pull` or `hold`."""

    def __init__(
        self, url: str, name: str, prefix: str, max_payload: int, *, shards: int = 1
    ) -> None:
        longest = 59 if shards == 1 else 56
        if len(str(name)) > longest:
            raise ConfigError(f"queue name {shorten(name)}: expected at most {longest} characters")
        self.url = self.address = url
        self.shards = check_shards(shards)
        self.keys: dict[str, Keys] = {}
        self.spreads: dict[str, Spread] = {}
        for mode in ("pull", "hold"):
            some = keys_of(prefix, name, shards, hold=mode == "hold")
            self.spreads[mode] = Spread(some)
            self.keys.update(zip(self.names(mode), some, strict=True))
        self._holds: dict[str, SlotKeeper] = {}
        self._max_payload = max_payload
        self._home: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._opening = asyncio.Lock()
        self._failed: dict[str, PeakError] = {}
        self._life = 0
        self._closed = False
        self._conn: Connection | None = None
        self._keeper: Keeper | None = None
        self._jobs: list[Job] = []
        self._lines: dict[str, Line] = {}

    def names(self, mode: str) -> list[str]:
        """The lines of a mode: its name, or one with its number for each shard."""
        return [mode] if self.shards == 1 else [f"{mode}/{n}" for n in range(self.shards)]

    @property
    def slots(self) -> SlotKeeper | None:
        """The leases that are held here, where there is one shard."""
        return self._holds.get("hold")

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._conn is not None

    async def open(self) -> None:
        """Connect (and start the embedded server); also after `aclose`."""
        self._closed = False
        await self.connection()

    async def aclose(self) -> None:
        """Close connections; those who still wait get Unavailable, holders of slots are stopped."""
        home = self._home
        if home and home[0].is_running() and home[0] is not asyncio.get_running_loop():
            self._check_home()
        self._life += 1
        self._closed = True
        home, self._home = self._home, None
        lines, self._lines = self._lines, {}
        keeper, self._keeper = self._keeper, None
        conn, self._conn = self._conn, None
        holds, self._holds = self._holds, {}
        self._jobs.clear()
        if home is None or home[1] != os.getpid():
            return  # nothing is open, or what is belongs to the process that we were forked from
        if home[0] is not asyncio.get_running_loop():
            if keeper is not None:
                await asyncio.to_thread(keeper.stop)
            return  # sockets and tasks went with their loop
        async with contextlib.AsyncExitStack() as stack:
            for held in holds.values():
                stack.callback(held.lose_all)
            if conn is not None:
                stack.push_async_callback(conn.aclose)
            if keeper is not None:
                stack.push_async_callback(asyncio.to_thread, keeper.stop)
            stack.push_async_callback(_close_all, list(lines.values()))
            for spread in self.spreads.values():
                stack.push_async_callback(spread.aclose)

    async def choose(self, mode: str, route: str, key: str = "", task_id: str = "") -> str:
        """The id for a task, where there are shards: as given, or of the shard it should go to."""
        spread = self.spreads[mode]
        if self.shards > 1 and not task_id:
            await spread.learn(await self.connection(), must=bool(key))
        return task_id or spread.new_id(route, key)

    def where(self, mode: str, task_id: str) -> str:
        """The name of the line that serves a task."""
        return mode if self.shards == 1 else self.spreads[mode].where(mode, task_id)

    def ready(self, mode: str) -> Line | None:
        """The line if it is open. Raises ConfigError in another event loop or process."""
        line = self._lines.get(mode)
        if line is not None and line.loop is not asyncio.get_running_loop():
            self._check_home()
        return line

    async def line(self, mode: str, deadline: float | None = None) -> Line:
        """The line, opened if need be. Raises Unavailable, also at `deadline` (loop's clock)."""
        line = self.ready(mode)
        if line is not None:
            return line
        try:
            async with asyncio.timeout_at(deadline):
                return await self._open_line(mode)
        except TimeoutError:
            raise Unavailable(
                "Redis could not be reached within the time-out", code="TIMEOUT"
            ) from None

    async def hold(self, deadline: float, task_id: str = "") -> tuple[Line, SlotKeeper]:
        """What a slot needs."""
        where = self.where("hold", task_id)
        if self.shards > 1:
            await self.spreads["hold"].learn(await self.connection())
        line = await self.line(where, deadline)  # nothing is awaited from here on
        held = self._holds.get(where)
        if held is None:
            held = self._holds[where] = SlotKeeper(line, line.commands.keys)
            self._keep(held.renew)
        return line, held

    async def commands(self, mode: str) -> Commands:
        """The scripts."""
        return Commands(await self.connection(), scripts(), self.keys[mode])

    async def refresh(self) -> None:
        """The lease has another length: hear of it now."""
        for line in list(self._lines.values()):  # others may open meanwhile
            await line.inbox.attach()
        if self._keeper is not None:
            for job in self._jobs:
                self._keeper.soon(job)

    def _check_home(self) -> None:
        loop = asyncio.get_running_loop()
        if self._home is None:
            self._home = loop, os.getpid()
            self._opening = asyncio.Lock()
        elif self._home[1] != os.getpid():
            raise ConfigError(
                "this queue was opened before a fork: make another in the child process"
            )
        elif self._home[0] is not loop:
            raise ConfigError(
                "this queue belongs to another event loop: make one in each loop, and aclose() "
                "it before its loop ends (SyncQueue serves any number of threads)"
            )

    async def connection(self) -> Connection:
        """The one connection, opened if need be. Raises Unavailable, ConfigError."""
        if self._closed:
            raise closed()
        self._check_home()
        if self._conn is not None:
            return self._conn
        life = self._life
        async with self._attempt(""):
            if life != self._life:
                raise closed()
            if self._conn is None:
                url = await self._address()
                conn = Connection(url, client_name="peak")
                await conn.open()
                if life != self._life:
                    await conn.aclose()
                    raise closed()
                self._conn, self._keeper, self.address = conn, Keeper(url), url
            return self._conn

    @contextlib.asynccontextmanager
    async def _attempt(self, what: str) -> AsyncIterator[None]:
        """One at a time opens. Who waited for an attempt that failed has failed with it: each with
        one of its own would wait for all before it."""
        life, before = self._life, self._failed.get(what)
        async with self._opening:
            failed = self._failed.get(what)
            if failed is not None and failed is not before:
                raise copy_of(failed)
            try:
                yield
            except PeakError as error:
                if life == self._life:
                    self._failed[what] = error
                raise

    async def _address(self) -> str:
        """Where to connect to. The private embedded server is one for the whole process."""
        bare, _, options = self.url.partition("?")
        if bare != "embedded://":
            return self.url
        from .embedded import private

        url = (await asyncio.to_thread(private)).url
        return f"{url}?{options}" if options else url

    async def _open_line(self, mode: str) -> Line:
        conn = await self.connection()
        life = self._life
        async with self._attempt(mode):
            line = self._lines.get(mode)
            if line is None:
                keys = self.keys[mode]
                bodies = Bodies(conn, keys, self._max_payload)
                commands = Commands(conn, scripts(), keys)
                line = Line(commands, mode.partition("/")[0], conn.reader, bodies)
                await line.open()
                if life != self._life:
                    await line.aclose()
                    raise closed()
                self._lines[mode] = line
                self._keep(_refreshing(line))
            return line

    def _keep(self, job: Job) -> None:
        assert self._keeper is not None
        self._jobs.append(job)
        self._keeper.add(job)


async def _close_all(lines: list[Line]) -> None:
    """All at once: away from Redis each may take a second."""
    ends = await asyncio.gather(*(line.aclose() for line in lines), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


def _refreshing(line: Line) -> Job:
    """A job for the keeper: the inbox lives as long as the event loop, be that blocked or not."""
    loop, keys, caller = asyncio.get_running_loop(), line.commands.keys, line.caller.id
    inbox = line.inbox

    async def refresh(conn: Connection) -> float | None:
        if loop.is_closed():
            return None
        reply = await Commands(conn, scripts(), keys).attach(caller)
        inbox.lease_ms = reply.lease_ms
        if reply.fresh:
            call_soon(loop, inbox.lost)
        return min(reply.lease_ms / 3000, _REFRESH_S)

    return refresh
