"""Makes routes and their limits known to a queue, and again where Redis came back without them.

They outlive the node: a gateway refuses what nobody ever made known, and lets wait what has no
node just now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from pyclient.engine import Engine
from pyclient.errors import PeakError

log = logging.getLogger("pyclient.compat.fastapi_queue")

ROOM_MAX = 1_000_000
LOOK_S = 0.5
_LONGEST_PAUSE_S = 5.0
_BATCH = 32


class Announcer:
    """Keeps the rooms of routes set. `engine` is its own to use, not to close.

    With `first` it sets them whatever they were, once; all else only where there are none.
    `restored` is called when rooms were gone that had been there.
    """

    def __init__(
        self,
        engine: Engine,
        configure: Mapping[str, str | int],
        rooms: Mapping[str, int],
        *,
        first: bool,
        restored: Callable[[], object] = lambda: None,
    ) -> None:
        self._engine = engine
        self._configure = configure
        self._rooms = rooms
        self._first = first
        self._seen: set[str] = set()
        self._restored = restored

    async def run(self) -> None:
        """Until cancelled. Redis being away, it asks less and less often."""
        pause = LOOK_S
        while True:
            try:
                await self.announce()
                pause = LOOK_S
            except Exception as error:
                log.log(
                    logging.WARNING if pause == LOOK_S else logging.DEBUG,
                    "routes can't be made known: %s",
                    error,
                    exc_info=not isinstance(error, PeakError),
                )
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause)

    async def announce(self) -> None:
        """Set what is missing; all of it the first time. Raises Unavailable."""
        rooms = dict(self._rooms)
        routes = list(rooms) if self._first else await self._missing(rooms)
        if not routes:
            self._seen = set(rooms)
            return
        commands = await self._engine.commands("pull")
        for start in range(0, len(routes), _BATCH):
            some = routes[start : start + _BATCH]
            limits = {f"room {route}": min(max(rooms[route], 0), ROOM_MAX) for route in some}
            await commands.configure({**self._configure, **limits})
        if not self._seen.isdisjoint(routes):  # else they were registered while it serves
            log.warning("Redis came back without the routes: made known again")
            self._restored()
        self._first, self._seen = False, set(rooms)

    async def _missing(self, rooms: Iterable[str]) -> list[str]:
        conn = await self._engine.connection()
        keys, routes = self._engine.keys["pull"], list(rooms)
        found: list[object] = []
        for start in range(0, len(routes), _BATCH):
            some = [keys.room_field(route) for route in routes[start : start + _BATCH]]
            found += await conn.command(b"HMGET", keys.settings(), *some)
        return [
            route
            for route, room in zip(routes, found, strict=True)
            if room is None and self.wanted(route)
        ]

    def wanted(self, route: str) -> bool:
        """A limit of 0 closes a route: it stays unknown."""
        return self._rooms[route] > 0
