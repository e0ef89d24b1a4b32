"""Which shard a new task goes to: the less loaded of two that chance names.

Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001): nearly as even as
looking at all of them, without all clients running to the one that was emptiest a moment ago.
Load is the number of living tasks, asked for at most twice a second while it is wanted, plus what
was drawn here since. A shard that can't be asked is avoided until it can.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time

from .connection import Connection
from .errors import PeakError
from .keys import Keys, new_task_id
from .shards import home_of, id_in, pinned, read_wholes, shard_of

log = logging.getLogger("pyclient.spread")

_LOADS_S = 0.5
_PINS_S = 2.0
_ASK_S = 1.0


class Spread:
    """Draws ids for a queue of `count` shards; of one shard nothing is chosen."""

    def __init__(self, keys: list[Keys]) -> None:
        self.count = len(keys)
        self._keys = keys
        self._loads = [0.0] * self.count
        self._pins: set[str] | None = None
        self._conn: Connection | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        self._looked = self._pinned_at = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._learning = asyncio.Lock()

    async def learn(self, conn: Connection, *, must: bool = False) -> None:
        """Hear which routes are pinned before the first task.

        While shard 0 is away each route goes to its home, which is right in any case; only who
        has an idempotency key `must` know, to meet others. Raises Unavailable then.
        """
        if self._conn is not conn:
            self._conn, self._learning = conn, asyncio.Lock()
            self._home = asyncio.get_running_loop()
            self.forget()
        self._look()
        if self._knows():
            return
        async with self._learning:  # all wait for the first one
            if not self._knows() and (must or self._pins_are_old()):
                await self._read_pins(conn, must=must)

    def new_id(self, route: str, key: str = "") -> str:
        """An id of the shard that a task of this route (and idempotency key) should go to."""
        if self.count == 1:
            return new_task_id()
        shard = self._choose(route, key)
        self._loads[shard] += 1
        if self._home is not None and self._home is asyncio._get_running_loop():
            self._look()  # slots of a SyncQueue draw in threads of others: `learn` looks for them
        return id_in(shard, self.count)

    def id_beside(self, task_id: str) -> str:
        """An id of the same shard."""
        if self.count == 1:
            return new_task_id()
        return id_in(shard_of(task_id, self.count), self.count)

    def where(self, mode: str, task_id: str) -> str:
        """The name of the line that serves a task: see `Engine.line`."""
        return mode if self.count == 1 else f"{mode}/{shard_of(task_id, self.count)}"

    def avoid(self, task_id: str) -> None:
        """The shard of this task does not answer."""
        if self.count > 1:
            self._loads[shard_of(task_id, self.count)] = math.inf

    def forget(self) -> None:
        """Pins may have changed by our own doing: ask again before the next task."""
        self._pins, self._pinned_at = None, -math.inf

    async def aclose(self) -> None:
        """Stop asking."""
        task, self._task, self._conn = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _choose(self, route: str, key: str) -> int:
        if self._pins is None or route in self._pins:  # its home is right in either case
            return home_of(route, self.count)
        if key:
            return home_of(key, self.count)
        one, other = random.sample(range(self.count), 2)
        one, other = (one, other) if self._loads[one] <= self._loads[other] else (other, one)
        if self._loads[one] < math.inf:
            return one
        return min(range(self.count), key=lambda shard: (self._loads[shard], random.random()))

    def _look(self) -> None:
        now = time.monotonic()
        if self._conn is None or now - self._looked < _LOADS_S:
            return
        if self._task is None or self._task.done():
            self._looked = now
            self._task = asyncio.create_task(self._ask(self._conn))

    async def _ask(self, conn: Connection) -> None:
        """How many tasks live in each shard, and now and then which routes are pinned."""
        asked = (conn.command(b"HLEN", keys.tasks(), timeout=_ASK_S) for keys in self._keys)
        told = await asyncio.gather(*asked, return_exceptions=True)
        self._loads = [float(n) if isinstance(n, int) else math.inf for n in told]
        if self._pins_are_old():
            await self._read_pins(conn)

    def _knows(self) -> bool:
        return self._pins is not None

    def _pins_are_old(self) -> bool:
        return time.monotonic() - self._pinned_at >= _PINS_S

    async def _read_pins(self, conn: Connection, *, must: bool = False) -> None:
        """What was known stays where shard 0 can't be asked; raises that only if they `must`."""
        self._pinned_at = time.monotonic()
        try:
            self._pins = pinned(await read_wholes(conn, self._keys[0], timeout=_ASK_S), self.count)
        except PeakError as error:
            if must:
                raise
            log.debug("can't ask which routes are pinned: %s", error)
