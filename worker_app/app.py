"""The worker as a program sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from pyclient.codec import MAX_BYTES
from pyclient.errors import ConfigError
from pyclient.settings import load, redis_address
from pyclient.shards import check_shards, keys_of

from .announce import Shard
from .desk import GRACE_S
from .pools import Pools
from .routes import Handler, Route, make_route
from .session import Session
from .turns import Turns

H = TypeVar("H", bound=Handler)
Lifespan = Callable[["Worker"], AbstractAsyncContextManager[Any]]


class Worker:
    """Handlers for one queue, and the process that runs them.

        worker = Worker("default", url="redis://localhost")


        @worker.route("resize", attempts=3, timeout=30)
        async def resize(payload, ctx): ...

    Run it with `python -m worker_app module:worker -p 4`, or inside a program of your own with
    `await worker.run()`. `url` is taken from the settings where it is None. `concurrency` is how
    many tasks one process runs at one time, of levels up to `max_level`, over all `shards` of the
    queue (None: of the settings where the address is, else one). `lifespan` is an async
    context manager that is given the worker; what it yields is `ctx.state`.

    The `timeout` of a route (seconds) stops its handler: the task ends as `failed`. A thread
    can't be stopped; one that is still there 5 s later has this process replaced by a new one.

    A handler that raises ends its task as `failed` with `<class>: <text>`, at once: what
    failed once mostly fails again, and whoever waits wants to know. Raise `Retry`, or name
    classes in `retry_on`, to have it run again after a random time that grows (up to 1 s,
    2 s, 4 s … 60 s), `attempts` times in all; then it is `dead` and kept as a dead letter.
    Attempts also count the workers that were lost with the task: after the last of the
    submission it is `lost`. The fewer of these attempts and those of the submission count.
    """

    def __init__(
        self,
        name: str = "default",
        *,
        url: str | None = None,
        lifespan: Lifespan | None = None,
        concurrency: int = 64,
        max_level: int = 9,
        prefix: str = "peak",
        processes: int | None = None,
        drain_timeout: float = 25.0,
        grace: float = GRACE_S,
        max_payload: int = MAX_BYTES,
        shards: int | None = None,
    ) -> None:
        if not 1 <= concurrency <= 10_000:
            raise ConfigError(f"concurrency is {concurrency!r}, expected 1..10000")
        if not 0 <= max_level <= 9:
            raise ConfigError(f"max_level is {max_level!r}, expected 0..9")
        self.name = name
        self.url = url
        self.concurrency = concurrency
        self.max_level = max_level
        self.processes = processes or min(4, os.cpu_count() or 1)
        self.drain_timeout = drain_timeout
        self.grace = grace
        self.max_payload = max_payload
        self.routes: dict[str, Route] = {}
        self.shards = None if shards is None else check_shards(shards)
        self._prefix = prefix
        keys_of(prefix, name, self.shards or 1)
        self._lifespan = lifespan
        self._sessions: list[Session] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stops = 0

    def route(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        room: int | None = None,
        attempts: int = 3,
        timeout: float = 30.0,
        retry_on: tuple[type[BaseException], ...] = (),
        kind: str | None = None,
        raw: bool = False,
    ) -> Callable[[H], H]:
        """Register a handler, called as (payload) or (payload, ctx); it stays as it is.

        An async function is awaited on the event loop, any other is called in a thread; both are
        found by looking. `kind="process"` is for one that computes: a plain function of an
        importable module, which a process of the pool imports and calls.
        `concurrency` (running at one time, over all workers) and `room` (in the queue at all)
        are limits of the route in the queue; 0 takes one away, None leaves it as it is. `raw`
        hands a result of bytes on without packing it. How a task ends is said of Worker.
        """

        def register(handler: H) -> H:
            if name in self.routes:
                raise ConfigError(f"route {name} has a handler already")
            self.routes[name] = make_route(
                name,
                handler,
                kind=kind,
                concurrency=concurrency,
                room=room,
                attempts=attempts,
                timeout=timeout,
                retry_on=retry_on,
                raw=raw,
            )
            return handler

        return register

    async def run(self) -> None:
        """Serve until `stop`. Waits for Redis, at the start and later, as long as it takes.

        Raises HandlerStuck where a handler does not end, ConfigError for what only a person can
        mend, and what the lifespan raises. It handles no signals. Cancelling it leaves what runs
        to other workers once its leases end; `stop` hands it back.
        """
        if self._loop is not None:
            raise ConfigError("this worker runs already: one Worker object serves once at a time")
        if not self.routes:
            raise ConfigError("this worker has no routes: register handlers with @worker.route")
        self._loop = asyncio.get_running_loop()
        try:
            async with contextlib.AsyncExitStack() as stack:
                state = None
                if self._lifespan is not None:
                    state = await stack.enter_async_context(self._lifespan(self))
                if not self._stops:
                    try:
                        await self._serve(state)
                    finally:
                        self._sessions = []  # the lifespan may take its time to end
        finally:
            self._sessions, self._loop = [], None
            self._stops = 0

    def stop(self) -> None:
        """Take no new tasks, finish those that run, end `run`; again: hand all back at once.

        May be called from any thread.
        """
        self._stops += 1
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._pass_on)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called in this run."""
        return self._stops > 0

    @property
    def session(self) -> Session | None:
        """The run that is on; of a queue with shards that of the first."""
        return self._sessions[0] if self._sessions else None

    def ailment(self, now: float) -> tuple[str, bool]:
        """What is wrong with a run, for the watchdog: see `Session.ailment`."""
        found = [session.ailment(now) for session in list(self._sessions)]
        return max(found, key=lambda one: (bool(one[0]), one[1]), default=("", False))

    def _pass_on(self) -> None:
        """Tell the sessions; a stop may have come before there were any."""
        for session in self._sessions:
            while session.stops < min(self._stops, 2):
                session.stop()

    async def _serve(self, state: Any) -> None:
        """Run a session for each shard; the first that ends has the others end."""
        shards, url = self.shards or 1, self.url
        if url is None:
            settings = load()
            url = redis_address(settings)
            shards = settings.shards if self.shards is None else self.shards
        pools = Pools(threads=self.concurrency, processes=self.processes) if shards > 1 else None
        self._sessions = self._make_sessions(url, shards, state, pools)
        self._pass_on()
        if pools is None:
            await self._sessions[0].run()
            return
        try:
            await _run_all(self._sessions)
        finally:
            await pools.aclose()

    def _make_sessions(
        self, url: str, shards: int, state: Any, pools: Pools | None
    ) -> list[Session]:
        keys = keys_of(self._prefix, self.name, shards)
        turns = Turns(self.concurrency) if shards > 1 else None
        return [
            Session(
                url,
                one,
                self.routes,
                state=state,
                concurrency=self.concurrency,
                processes=self.processes,
                pools=pools,
                max_level=self.max_level,
                drain_timeout=self.drain_timeout,
                grace=self.grace,
                max_payload=self.max_payload,
                turns=turns,
                shard=Shard(number, shards, keys[0]) if shards > 1 else None,
            )
            for number, one in enumerate(keys)
        ]


async def _run_all(sessions: Sequence[Session]) -> None:
    """Until all have ended. Raises what the first one raised."""
    tasks = [asyncio.create_task(one.run()) for one in sessions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in sessions:
            if not one.stops:
                one.stop()
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end
