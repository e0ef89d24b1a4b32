"""Open-loop load: requests begin when their time has come, whatever became of those before.

A load is a process of its own. It goes on until SIGTERM, then waits for what is outstanding,
says how it was left, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from .history import Recorder

OPTIONS = "FAULTS_LOAD"
_LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a load does: `mix` gives the kinds of request their weights, `ms` the span of the
    backend's time, `most` the number after which it stops by itself (0: none)."""

    rate: float = 200.0
    mix: dict[str, int] = field(default_factory=lambda: {"call": 4, "submit": 4, "keyed": 2})
    deadline_s: float = 30.0
    ms: tuple[float, float] = (5.0, 200.0)
    levels: tuple[int, ...] = (1, 3, 3, 3, 5)
    route: str = "work"
    most: int = 0
    seed: int = 0
    at_once: int = 4000
    bucket: tuple[float, int] | None = None
    pad: int = 0
    how: str = ""

    def as_env(self) -> dict[str, str]:
        """For the environment of the load's process."""
        return {OPTIONS: json.dumps(asdict(self))}

    @classmethod
    def of_environment(cls) -> Plan:
        """The other way round."""
        found: dict[str, Any] = json.loads(os.environ[OPTIONS])
        for name in ("ms", "levels", "bucket"):
            found[name] = tuple(found[name]) if found[name] is not None else None
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Request:
    """One of them."""

    n: str
    kind: str
    level: int
    ms: float


Send = Callable[[Request], Awaitable[dict[str, Any]]]


class Load:
    """Sends requests by a plan; `send` returns the fields of the event `end`."""

    def __init__(self, plan: Plan, record: Recorder, send: Send) -> None:
        self._plan = plan
        self._record = record
        self._send = send
        self._random = random.Random(plan.seed)
        self._stop = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._sent = 0

    async def run(self) -> None:
        """Until SIGTERM or the last request; then until everything was answered."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop.set)
        watch = asyncio.create_task(self._watch_lag())
        try:
            await self._arrive()
            self._record("no-more", sent=self._sent)
            if self._running:
                await asyncio.wait(self._running, timeout=self._plan.deadline_s + 30)
            self._record("drained", left=len(self._running))
        finally:
            watch.cancel()

    async def _arrive(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stop.is_set() and (not self._plan.most or self._sent < self._plan.most):
            due += self._random.expovariate(self._plan.rate)
            if (wait := due - loop.time()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._stop.wait()
            elif self._sent % 64 == 0:
                await asyncio.sleep(0)  # behind: others want a turn, too
            if len(self._running) < self._plan.at_once:
                self._begin()
            else:
                self._record("saw", what="arrivals left out, too many at once", times=1)

    def _begin(self) -> None:
        plan, rand = self._plan, self._random
        self._sent += 1
        kind = rand.choices(list(plan.mix), list(plan.mix.values()))[0]
        n = f"{self._record.name}.{self._sent}"
        request = Request(n, kind, rand.choice(plan.levels), round(rand.uniform(*plan.ms), 1))
        task = asyncio.create_task(self._one(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _one(self, request: Request) -> None:
        self._record(
            "submit",
            n=request.n,
            kind=request.kind,
            level=request.level,
            route=self._plan.route,
            deadline_s=self._plan.deadline_s,
        )
        self._record("end", n=request.n, **await self._send(request))

    async def _watch_lag(self) -> None:
        """What this process itself is late is not the queue's doing: say it."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await asyncio.sleep(_LOOK_S)
            late = loop.time() - begun - _LOOK_S
            if late > _LOOK_S:
                self._record("lag", ms=round(late * 1000, 1))
