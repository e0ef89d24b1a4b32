"""One run of a simulation from inside, for its actors."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from pyclient.queue import Queue
from worker_app.session import Session

from .ledger import Ledger
from .network import Network
from .simnode import Node

ATTEMPTS = 3


@dataclass
class World:
    """The network, who lives in it, and what chance is left: `storm` while things go wrong, `over`
    when everything has been answered."""

    net: Network
    ledger: Ledger
    rng: random.Random
    mode: str
    queues: dict[str, tuple[Node, Queue]] = field(default_factory=dict)
    sessions: dict[str, tuple[Node, Session]] = field(default_factory=dict)
    asking: set[asyncio.Task[Any]] = field(default_factory=set)
    fair: bool = False
    storm: bool = True
    over: bool = False

    async def sleep(self, mean: float) -> None:
        """For a random time."""
        await asyncio.sleep(self.rng.expovariate(1 / mean))

    def nodes(self) -> list[Node]:
        """The processes that live now."""
        return [node for node, _ in (*self.queues.values(), *self.sessions.values())]

    def watch(self, task: asyncio.Task[Any]) -> None:
        """The run is not over before this one is."""
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)
