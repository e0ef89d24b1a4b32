"""The sockets of a connection: one for calls and one for large bodies to each place in use."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal, TypeAlias

from .address import Endpoint
from .durability import Durability
from .errors import PeakError, Unavailable
from .link import Arg, Link
from .sentinel import Sentinels
from .server_check import check_server
from .topology import Topology
from .wire import Wire, closed

Role: TypeAlias = Literal["call", "bulk"]
"""Which of the two sockets to a server: small and hot, or for large bodies."""

_LOOK_S = 0.4


class Wires:
    """All wires of one connection, while it is open.

    `patience` is how long `link` goes on trying to reach a server that is away. `on_open` is
    told of each new link for calls.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        demand: Durability,
        patience: float,
        on_open: Callable[[], None],
    ) -> None:
        self.topology = topology
        self._demand = demand
        self._patience = patience
        self._on_open = on_open
        self._places: dict[Role, dict[Endpoint, Wire]] = {"call": {}, "bulk": {}}
        self._checked: set[Endpoint] = set()
        self._judged = False
        self._closed = False
        self._watching: asyncio.Task[None] | None = None
        if topology.sole is None:  # what is alone nobody can take over
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    def wire(self, key: Arg, role: Role) -> Wire:
        """The wire to where the key lives."""
        place = self.topology.sole or self.topology.place(as_bytes(key))
        return self._places[role].get(place) or self.wire_to(place, role)

    def wire_to(self, place: Endpoint, role: Role) -> Wire:
        """The wire to a place."""
        if self._closed:
            raise closed()
        wire = self._places[role].get(place)
        if wire is None:
            on_open = self._on_open if role == "call" else None
            wire = Wire(lambda: self._open(place), on_open=on_open)
            self._places[role][place] = wire
        return wire

    async def link(self, key: Arg, role: Role, deadline: float) -> Link:
        """The link for a key, opened if need be. Raises Unavailable or ConfigError."""
        loop = asyncio.get_running_loop()
        give_up = min(loop.time() + self._patience, deadline)
        while True:
            wire = self.wire(key, role)
            try:
                return await wire.get(deadline)
            except Unavailable:
                if self._closed or loop.time() >= give_up:
                    raise
            await self.topology.lost(self.topology.place(as_bytes(key)))

    async def open_for_reading(self, key: bytes) -> Link:
        """A link of the caller's own to where the key lives: one attempt."""
        if self._closed:
            raise closed()
        place = self.topology.place(key)
        try:
            return await self.topology.open(place)
        except PeakError:
            await self.topology.lost(place)
            raise

    def drop_all(self, reason: str) -> None:
        """End all links at once: another server has taken over."""
        for places in self._places.values():
            for wire in places.values():
                wire.drop(wire.link, reason, at_once=True)

    async def aclose(self) -> None:
        """End all links and what the topology began."""
        self._closed = True
        async with contextlib.AsyncExitStack() as stack:  # each, also if this is cancelled
            stack.push_async_callback(self.topology.aclose)
            for places in self._places.values():
                for wire in places.values():
                    stack.push_async_callback(wire.aclose)
            if self._watching is not None:
                self._watching.cancel()
                stack.push_async_callback(asyncio.wait, [self._watching])

    async def _watch(self) -> None:
        """A server that stopped answers nothing, not even MOVED: ask the others about it, long
        before the calls that it was asked are overdue."""
        before: dict[Link, int] = {}
        while True:
            await asyncio.sleep(_LOOK_S)
            waiting: dict[Link, int] = {}
            for places in self._places.values():
                for place, wire in list(places.items()):
                    link = wire.link
                    if link is None or not link.waiting:
                        continue
                    answered = waiting[link] = link.sent - link.waiting
                    if before.get(link) != answered:
                        continue
                    if await self.topology.replaced(place):
                        wire.drop(link, f"another node took over from {place}", at_once=True)
            before = waiting

    async def _open(self, place: Endpoint) -> Link:
        link = await self.topology.open(place)
        if place not in self._checked or self._demand.mode:  # a failover brings another server
            try:
                judged = await check_server(
                    link,
                    self._demand,
                    failover=isinstance(self.topology, Sentinels),
                    first=not self._judged,
                )
            except BaseException:
                link.abort("the server was not accepted")
                raise
            self._checked.add(place)
            self._judged = self._judged or judged
        return link


def as_bytes(key: Arg) -> bytes:
    """A key as it goes over the wire."""
    return key if isinstance(key, bytes) else str(key).encode()
