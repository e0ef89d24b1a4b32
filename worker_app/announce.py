"""Limits of routes, announced to the queue: at the start, and when Redis came back without them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pyclient.commands import Arg, Commands
from pyclient.connection import Connection
from pyclient.errors import Unavailable
from pyclient.keys import Keys
from pyclient.shards import note_wholes

from .routes import Route

log = logging.getLogger("worker_app.announce")

BATCH = 64


class Shard(NamedTuple):
    """Which part of a queue a worker serves here; `first` are the keys of shard 0."""

    number: int
    total: int
    first: Keys


class Announcer:
    """`concurrency` and `room` of routes live in Redis, where every client obeys them.

    A queue that lost its state is known by its count of leases, which only rises: it has fallen
    below what was seen of it. Before the first lease nothing can be known, so nothing is trusted.
    """

    def __init__(
        self,
        commands: Commands,
        routes: Iterable[Route],
        shard: Shard | None = None,
        conn: Connection | None = None,
    ) -> None:
        self._commands = commands
        self._shard = shard
        self._conn = conn
        self._settings: dict[str, int] = {}
        self._leased = 0
        self._announced = False
        for route in routes:
            for what, limit in (("concurrency", route.concurrency), ("room", route.room)):
                if limit is not None:
                    self._settings[f"{what} {route.name}"] = limit

    async def announce(self) -> None:
        """Set what the routes ask for; routes without a limit are left as they are."""
        settings: Mapping[str, Arg] = self._settings
        shard = self._shard
        if shard is not None and self._conn is not None and settings:
            parts = await note_wholes(self._conn, shard.first, settings, shard.total)
            settings = parts[shard.number]
        names = list(settings)
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            await self._commands.configure({name: settings[name] for name in some})

    def leased(self, count: int) -> None:
        """So many more leases were seen."""
        self._leased += count

    async def check(self) -> float:
        """Look at the queue, announce again where its state was lost; the lease in seconds."""
        seen = self._leased  # more may be given while the question is on its way
        gauge: dict[str, Any] = await self._commands.gauge()
        leased = int(gauge["leased"])
        if leased < seen:
            log.warning("Redis lost the state of the queue: limits of routes are announced again")
            self._announced = False
        if not self._announced or not seen:
            await self._announce_if_possible(known=leased > 0 and leased >= seen)
        self._leased = leased
        return float(gauge["lease_ms"]) / 1000

    async def _announce_if_possible(self, *, known: bool) -> None:
        """A full Redis takes no settings. Where others have announced and leased before, what
        they said has to do until there is room: else nobody would ever make room."""
        try:
            await self.announce()
            self._announced = True
        except Unavailable as error:
            if error.code != "OOM" or not known:
                raise
            log.warning("Redis is full: limits of routes stay as they are for now")
