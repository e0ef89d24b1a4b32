"""Which server holds the data. A topology knows *places* and opens links to them.

Here: one fixed server, and an embedded one. `sentinel.py` and `cluster.py` have the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from .address import Address, Endpoint
from .dial import Greeting, dial
from .embedded import EmbeddedServer, shared
from .link import Limits, Link


class Topology(Protocol):
    """What `Connection` asks of a topology."""

    sole: Endpoint | None
    """The place of every key, where there is one place only: saves hashing the key."""

    def place(self, key: bytes) -> Endpoint:
        """Where the key lives, as far as known: a name of the place, not always an address."""

    async def open(self, place: Endpoint) -> Link:
        """A link to the place. Raises PeakError."""

    async def lost(self, place: Endpoint) -> None:
        """Called when the place can't be reached: look again, within a second or two."""

    async def homes(self) -> list[bytes]:
        """A key at each server that takes writes. Raises Unavailable."""

    def moved(self, slot: int, endpoint: Endpoint) -> None:
        """Learn from MOVED."""

    async def replaced(self, place: Endpoint) -> bool:
        """Ask about a silent place; whether its keys are elsewhere now."""

    def start(self, on_switch: Callable[[str], None]) -> None:
        """Begin to watch; `on_switch` is called when another server has taken over."""

    async def aclose(self) -> None:
        """End what `start` began."""


class Sole:
    """What topologies of one place have in common."""

    def __init__(self, place: Endpoint) -> None:
        self.sole: Endpoint | None = place
        self._place = place

    def place(self, key: bytes) -> Endpoint:
        return self._place

    async def lost(self, place: Endpoint) -> None:
        return

    async def homes(self) -> list[bytes]:
        return [b""]

    def moved(self, slot: int, endpoint: Endpoint) -> None:
        return

    async def replaced(self, place: Endpoint) -> bool:
        return False

    def start(self, on_switch: Callable[[str], None]) -> None:
        return

    async def aclose(self) -> None:
        return


class Fixed(Sole):
    """One server, whatever happens."""

    def __init__(self, address: Address, limits: Limits) -> None:
        super().__init__(address.endpoints[0])
        self._greeting = Greeting.of(address)
        self._limits = limits

    async def open(self, place: Endpoint) -> Link:
        return await dial(place, self._greeting, limits=self._limits)


class Embedded(Sole):
    """A server of our own, started when first needed.

    A private one ends with `aclose`; one on a directory is for other processes too and stays
    until this process ends. Whoever ended it, the next link starts it again.
    """

    def __init__(self, address: Address, limits: Limits, parse: Callable[[str], Address]) -> None:
        super().__init__(Endpoint(f"embedded://{address.directory}", 0))
        self._address = address
        self._limits = limits
        self._parse = parse
        self._server: EmbeddedServer | None = None
        self._starting: asyncio.Task[EmbeddedServer] | None = None

    async def open(self, place: Endpoint) -> Link:
        if self._starting is None:
            self._starting = asyncio.create_task(self._running())
            self._starting.add_done_callback(self._started)
        # Shielded: a start that was begun ends in a server that `aclose` can stop.
        server = await asyncio.shield(self._starting)
        address = self._parse(server.url)
        greeting = Greeting.of(address, client_name=self._address.client_name)
        return await dial(address.endpoints[0], greeting, limits=self._limits)

    async def aclose(self) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting])
        server, self._server = self._server, None
        if server is not None and not self._address.directory:
            await asyncio.to_thread(server.stop)

    async def _running(self) -> EmbeddedServer:
        server = self._server
        if server is not None and not await asyncio.to_thread(server.running):
            await asyncio.to_thread(server.stop)  # its guard and its directory are still there
            server = None
        if server is None:
            server = await asyncio.to_thread(self._start)
        return server

    def _started(self, task: asyncio.Task[EmbeddedServer]) -> None:
        self._starting = None
        if not task.cancelled() and task.exception() is None:
            self._server = task.result()

    def _start(self) -> EmbeddedServer:
        directory = self._address.directory
        return shared(directory) if directory else EmbeddedServer.start()
