"""What stands behind one `Queue`: its connection, its two lines, and the thread that keeps them.

It belongs to the event loop that opened it. It opens by itself at the first use, but not again
after `aclose`: who closes it wants to hear of whoever still uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from .commands import Commands, scripts
from .connection import Connection
from .entry import closed
from .errors import ConfigError, Unavailable
from .keeper import Job, Keeper, call_soon
from .keys import Keys, shorten
from .line import Line
from .outcome import Bodies
from .slot import SlotKeeper

_REFRESH_S = 5.0


class Engine:
    """Opens and closes; hands out lines and commands by mode, `pull` or `hold`."""

    def __init__(self, url: str, name: str, prefix: str, max_payload: int) -> None:
        if len(str(name)) > 59:
            raise ConfigError(f"queue name {shorten(name)}: expected at most 59 characters")
        self.url = self.address = url
        self.keys = {"pull": Keys(prefix, name), "hold": Keys(prefix, f"{name}.hold")}
        self.slots: SlotKeeper | None = None
        self._max_payload = max_payload
        self._home: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._opening = asyncio.Lock()
        self._life = 0
        self._closed = False
        self._conn: Connection | None = None
        self._keeper: Keeper | None = None
        self._jobs: list[Job] = []
        self._lines: dict[str, Line] = {}

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._conn is not None

    async def open(self) -> None:
        """Connect (and start the embedded server); also after `aclose`."""
        self._closed = False
        await self._connection()

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
        slots, self.slots = self.slots, None
        self._jobs.clear()
        if home is None or home[1] != os.getpid():
            return  # nothing is open, or what is belongs to the process that we were forked from
        if home[0] is not asyncio.get_running_loop():
            if keeper is not None:
                await asyncio.to_thread(keeper.stop)
            return  # sockets and tasks went with their loop
        async with contextlib.AsyncExitStack() as stack:
            if slots is not None:
                stack.callback(slots.lose_all)
            if conn is not None:
                stack.push_async_callback(conn.aclose)
            if keeper is not None:
                stack.push_async_callback(asyncio.to_thread, keeper.stop)
            for line in lines.values():
                stack.push_async_callback(line.aclose)

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

    async def hold(self, deadline: float) -> tuple[Line, SlotKeeper]:
        """What a slot needs."""
        line = await self.line("hold", deadline)
        if self.slots is None:
            self.slots = SlotKeeper(line, line.commands.keys)
            self._keep(self.slots.renew)
        return line, self.slots

    async def commands(self, mode: str) -> Commands:
        """The scripts."""
        return Commands(await self._connection(), scripts(), self.keys[mode])

    async def refresh(self) -> None:
        """The lease has another length: hear of it now."""
        for line in self._lines.values():
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

    async def _connection(self) -> Connection:
        if self._closed:
            raise closed()
        self._check_home()
        if self._conn is not None:
            return self._conn
        life = self._life
        async with self._opening:
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

    async def _address(self) -> str:
        """Where to connect to. The private embedded server is one for the whole process."""
        bare, _, options = self.url.partition("?")
        if bare != "embedded://":
            return self.url
        from .embedded import private

        url = (await asyncio.to_thread(private)).url
        return f"{url}?{options}" if options else url

    async def _open_line(self, mode: str) -> Line:
        conn = await self._connection()
        life = self._life
        async with self._opening:
            line = self._lines.get(mode)
            if line is None:
                keys = self.keys[mode]
                bodies = Bodies(conn, keys, self._max_payload)
                line = Line(Commands(conn, scripts(), keys), mode, conn.reader, bodies)
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
