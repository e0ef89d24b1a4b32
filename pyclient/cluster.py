"""Redis Cluster: which node holds a slot.

The map is learnt from MOVED, one slot at a time: a queue has one slot, so a client needs few of
the 16384. Only when a node can't be reached are the others asked for the whole map, because a
node that died answers no MOVED.
"""

from __future__ import annotations

import asyncio
import binascii
import itertools
import random
from collections.abc import Callable
from typing import Any

from .address import Address, Endpoint
from .dial import Greeting, dial
from .errors import PeakError, Unavailable
from .kept import keep
from .link import Arg, Limits, Link
from .loading import Loadable, load_script
from .replies import code_of, error_of, is_error, no_matter, text_of

SLOTS = 16384
_MAP_S = 1.0
_PAUSE_S = 0.1
_ASKED = 8


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it without one."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


def _key_in(low: int, high: int) -> bytes:
    """Some key of these slots; of one slot it takes 16384 tries, give or take."""
    return next(key for n in itertools.count() if low <= slot_of(key := b"%d" % n) <= high)


def redirect_of(reply: object, asked: Endpoint) -> tuple[int, Endpoint]:
    """Slot and node of a MOVED or ASK; without a host it is the node that was asked."""
    _, slot, where = str(reply).split(" ")[:3]
    host, _, port = where.rpartition(":")
    return int(slot), Endpoint(host.strip("[]") or asked.host, int(port))


class Cluster:
    """The nodes of a Cluster, as far as they are needed."""

    def __init__(self, address: Address, limits: Limits) -> None:
        self.sole: Endpoint | None = None
        self._seeds = address.endpoints
        self._greeting = Greeting.of(address)
        self._limits = limits
        self._slots: dict[int, Endpoint] = {}
        self._ranges: list[tuple[int, int, Endpoint]] = []
        self._refresh: asyncio.Task[None] | None = None
        self._away: set[Endpoint] = set()

    def place(self, key: bytes) -> Endpoint:
        slot = slot_of(key)
        known = self._slots.get(slot)
        if known is None:
            known = next((e for low, high, e in self._ranges if low <= slot <= high), None)
            known = known or self._any()
            self._slots[slot] = known
        return known

    async def open(self, place: Endpoint) -> Link:
        link = await dial(place, self._greeting, limits=self._limits)
        self._away.discard(place)
        return link

    async def lost(self, place: Endpoint) -> None:
        """Ask the other nodes for the map; callers that lost a node together ask once."""
        self._away.add(place)
        await self._ask_for_map()

    async def replaced(self, place: Endpoint) -> bool:
        await self.lost(place)
        return bool(self._ranges) and all(owner != place for _, _, owner in self._ranges)

    async def homes(self) -> list[bytes]:
        """Asked for anew: whoever looks at all nodes must not leave one out."""
        await self._ask_for_map()
        keys: dict[Endpoint, bytes] = {}
        for low, high, owner in self._ranges:
            keys[owner] = keys.get(owner) or _key_in(low, high)
        if not keys:
            raise Unavailable("no node of the Cluster tells who holds what", code="CLUSTERDOWN")
        return list(keys.values())

    def moved(self, slot: int, endpoint: Endpoint) -> None:
        self._slots[slot] = endpoint

    def start(self, on_switch: Callable[[str], None]) -> None:
        return

    async def aclose(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    def _any(self) -> Endpoint:
        """A node to start from: its MOVED tells the right one."""
        nodes = self._nodes()
        return next((node for node in nodes if node not in self._away), nodes[0])

    def _nodes(self) -> list[Endpoint]:
        return list(dict.fromkeys([*self._seeds, *(e for _, _, e in self._ranges)]))

    async def _ask_for_map(self) -> None:
        if self._refresh is None:
            self._refresh = asyncio.get_running_loop().create_task(self._learn())
        await asyncio.wait([self._refresh])  # whoever waits does not end with it

    async def _learn(self) -> None:
        try:
            nodes = self._nodes()
            random.shuffle(nodes)
            nodes.sort(key=self._away.__contains__)
            for node in nodes[:_ASKED]:
                try:
                    self._ranges = await self._map_of(node)
                except (PeakError, TimeoutError):
                    self._away.add(node)
                    continue
                self._away.discard(node)
                self._slots.clear()
                return
        finally:
            # The pause is part of the task: nobody asks again before it is over.
            await asyncio.sleep(random.uniform(0.0, _PAUSE_S))
            self._refresh = None

    async def _map_of(self, node: Endpoint) -> list[tuple[int, int, Endpoint]]:
        async with asyncio.timeout(_MAP_S):
            link = await dial(node, self._greeting)
            try:
                deadline = asyncio.get_running_loop().time() + 2 * _MAP_S
                reply = await link.ask(("CLUSTER", "SLOTS"), deadline)
            finally:
                link.abort("asked and answered")
        if is_error(reply):
            raise error_of(reply)
        ranges = [_range_of(row, node) for row in reply]
        if not ranges:
            raise Unavailable(f"{node} knows no slots", code="CLUSTERDOWN")
        return ranges


async def ask_once(
    link: Link, command: tuple[Arg, ...], deadline: float, script: Loadable | None, kept: int
) -> Any:
    """Send to the node that imports the slot: ASKING counts for the next command only."""
    reply: Any = None
    for _ in range(2):
        seen = link.sent
        link.send((b"ASKING",), deadline).add_done_callback(no_matter)
        reply = await link.send(command, deadline)
        if not is_error(reply):
            if kept:
                await keep(link, kept, b"")
            return reply
        if code_of(reply) != "NOSCRIPT" or script is None:
            break
        await load_script(link, script, seen, deadline)
    raise error_of(reply)


def _range_of(row: list[Any], asked: Endpoint) -> tuple[int, int, Endpoint]:
    host = text_of(row[2][0] or b"")
    if host == "?":
        host = ""
    return int(row[0]), int(row[1]), Endpoint(host or asked.host, int(row[2][1]))
