"""Keeps leases alive from the keeper's thread, so that a blocked event loop keeps them too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from pyclient.commands import Commands
from pyclient.connection import Connection
from pyclient.keys import Keys
from pyclient.scripts import Script

from .held import Held

BATCH = 64
_LONGEST_LOOK_S = 0.25
_SHORTEST_LOOK_S = 0.02


class LeaseJob:
    """A job for `Keeper`: renews each lease once a third of its time.

    How long leases are is a setting of the queue, live: it is read again when tasks that were
    leased since the last look turn out to run for longer than a look. `on_word` is called in the
    event loop, with a fence and `LOST` or `CANCELLED`.
    """

    def __init__(
        self,
        leases: Mapping[int, Held],
        caller: str,
        scripts: Mapping[str, Script],
        keys: Keys,
        *,
        lease_s: float,
        on_word: Callable[[int, str], None],
    ) -> None:
        self._leases = leases
        self._caller = caller
        self._scripts = scripts
        self._keys = keys
        self._on_word = on_word
        self._loop = asyncio.get_running_loop()
        self._read_at = time.monotonic()
        self.lease_s = lease_s

    async def __call__(self, conn: Connection) -> float:
        """One look at what is held; returns the seconds until the next."""
        now = time.monotonic()
        # list() of a dict is one step for other threads.
        aged = [held for held in list(self._leases.values()) if now - held.renewed >= self._look()]
        if aged:
            commands = Commands(conn, self._scripts, self._keys)
            if any(held.since > self._read_at for held in aged) and now - self._read_at >= 1:
                self.lease_s = (await commands.gauge())["lease_ms"] / 1000
                self._read_at = now
            third = self.lease_s / 3 - self._look()
            if any(now - held.renewed >= third for held in aged):
                # Those that are due soon come along.
                soon = [held for held in aged if now - held.renewed >= third / 2]
                for start in range(0, len(soon), BATCH):
                    await self._renew(commands, soon[start : start + BATCH])
        return self._look()

    def _look(self) -> float:
        return min(max(self.lease_s / 12, _SHORTEST_LOOK_S), _LONGEST_LOOK_S)

    async def _renew(self, commands: Commands, some: Sequence[Held]) -> None:
        sent_at = time.monotonic()
        told = await commands.renew(
            self._caller, [(held.leased.id, held.leased.fence) for held in some]
        )
        for held, word in zip(some, told.words, strict=True):
            held.renewed = sent_at
            if word != "OK" and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._on_word, held.fence, word)
