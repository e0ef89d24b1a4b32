"""The service node: `QueueWorker`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from pyclient.engine import Engine

from .address import address_of
from .announce import ROOM_MAX, Announcer
from .calls import Caller, Function
from .names import route_of
from .settings import CompatSettings

if TYPE_CHECKING:
    from worker_app import Worker

log = logging.getLogger("pyclient.compat.fastapi_queue")

_IDLE_ROUTE = "@"  # a worker has at least one route; no path is encoded like this
_serving: WeakSet[QueueWorker] = WeakSet()


class QueueWorker:
    """Runs registered functions, `threads` at one time in this process.

        worker = QueueWorker(redis, threads=4, route_table_maximum_concurrency={"/": 100})
        worker.method_register("/", function)          # called as (redis, mysql, **form_data)
        await worker.run_serve()

    Limits of routes are made known to all gateways; with `run_startup` they replace those that
    are set, without it only what is missing is set. Nothing queued is touched at the start.
    `allowed_type_limit` 0..9: tasks of higher levels wait for other nodes. `run_serve` returns
    when this node was stopped and its work is finished: by `graceful_shutdown` (for
    `signal.signal`), `close`, or SIGTERM, where the program has no handler of its own for it.
    Other nodes go on.
    """

    def __init__(
        self,
        redis: Any,
        threads: int = 1,
        route_table_maximum_concurrency: Mapping[str, int] | None = None,
        allowed_type_limit: int | None = None,
        run_startup: bool = False,  # noqa: FBT001, FBT002 - the argument list is fastapi-queue's
        logger: Any = None,
    ) -> None:
        if type(threads) is not int or threads < 1:
            raise ValueError(f"threads {threads!r}: expected an integer, 1 or more")
        if allowed_type_limit is not None and allowed_type_limit not in range(10):
            raise ValueError(f"allowed_type_limit {allowed_type_limit!r}: expected 0 to 9, or None")
        self.redis = redis
        self.mysql: Any = None
        self.pid = os.getpid()
        self._threads = threads
        self._max_level = 9 if allowed_type_limit is None else int(allowed_type_limit)
        self._limits = dict(route_table_maximum_concurrency or {})
        self._logger = logger or log
        self._address = address_of(redis)
        self._settings = CompatSettings.read()
        self._functions: dict[str, Function] = {}
        self._rooms = {route_of(path): _limit(path, limit) for path, limit in self._limits.items()}
        self._run_startup = run_startup
        self.handles_sigterm = False
        self._closing = False
        self._closed = asyncio.Event()
        self._caller: Caller | None = None
        self._worker: Worker | None = None

    def method_register(self, method_route: str, method: Function) -> None:
        """Have calls of a path run `method`, async or not; a second one replaces the first."""
        if not callable(method):
            raise TypeError(f"method of {method_route!r} is {method!r}: expected a function")
        route = route_of(method_route)
        self._functions[route] = method
        if route not in self._rooms:
            self._rooms[route] = ROOM_MAX
        if self._worker is not None:
            self._serve_route(self._worker, route)

    def closeing(self) -> bool:
        """Whether this node was told to stop."""
        return self._closing

    def graceful_shutdown(self, sig: int | None = None, frame: FrameType | None = None) -> None:
        """Take nothing new, finish what runs; a second time: hand all back at once."""
        self._logger.info(f"Pid: {self.pid}, stopping (signal {sig})")
        self._closing = True
        if self._worker is not None:
            self._worker.stop()

    async def close(self) -> None:
        """`graceful_shutdown` of this node."""
        self.graceful_shutdown()

    async def wait_closed(self) -> None:
        """Until `run_serve` has returned; at once where it does not run."""
        if self._worker is not None:
            await self._closed.wait()

    def startup(self) -> None:
        """Nothing is left to do here; kept for programs that call it."""

    async def async_startup(self) -> None:
        """Set the limits of the route table, also over others; `run_serve` does it by itself."""
        engine = self._settings.engine(self._address)
        try:
            await self._announcer(engine, first=True).announce()
        finally:
            await engine.aclose()

    async def run_serve(self) -> None:
        """Serve until stopped. Redis may be away, at the start and later."""
        if self._closing:
            return
        self._closed.clear()
        worker, engine = self._make_worker(), self._settings.engine(self._address)
        self._caller = Caller(self._threads)
        self._worker = worker
        if self.closeing():  # told so by a signal while all this was made
            worker.stop()
        announcing = asyncio.create_task(
            self._announcer(engine, first=self._run_startup).run(), name="peak-announce"
        )
        self.handles_sigterm = _handle_sigterm(self)
        self._logger.info(f"Pid: {self.pid}, serving {len(self._rooms)} routes")
        try:
            await self._run(worker)
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            await engine.aclose()
            self._caller.close()
            self._worker = None
            self._closed.set()
            _release_sigterm(self)

    # -- inside -----------------------------------------------------------------------------

    async def _run(self, worker: Worker) -> None:
        """Serve; being cancelled (Ctrl-C without a handler) is one more way of being told."""
        running = asyncio.create_task(worker.run(), name="peak-node")
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            self._closing = True
            worker.stop()
            await asyncio.wait({running})
            raise

    def _make_worker(self) -> Worker:
        from worker_app import Worker  # the one place of pyclient that needs a node

        settings = self._settings
        worker = Worker(
            settings.queue,
            url=self._address,
            prefix=settings.prefix,
            concurrency=self._threads,
            max_level=self._max_level,
            drain_timeout=settings.drain_timeout,
        )
        for route in self._rooms or [_IDLE_ROUTE]:
            self._serve_route(worker, route)
        return worker

    def _serve_route(self, worker: Worker, route: str) -> None:
        from .waiting import RUN_MS

        async def handle(form: Any) -> Any:
            assert self._caller is not None
            function = self._functions.get(route)
            return await self._caller.call(function, self.redis, self.mysql, form)

        if route not in worker.routes:
            worker.route(route, attempts=1, timeout=RUN_MS / 1000)(handle)

    def _announcer(self, engine: Engine, *, first: bool) -> Announcer:
        settings = self._settings.configure
        return Announcer(engine, settings, self._rooms, first=first, restored=self._look)

    def _look(self) -> None:
        """Redis forgot that this node waits for a hint: claim without one."""
        if self._worker is not None and self._worker.session is not None:
            self._worker.session.loop.hint()


def _limit(path: str, limit: Any) -> int:
    try:
        return int(limit)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"limit of {path!r} {limit!r}: expected an integer") from None


def _handle_sigterm(node: QueueWorker) -> bool:
    """Stop all nodes of this process on SIGTERM, unless the program handles it; whether we do."""
    ours = any(other.handles_sigterm for other in _serving)
    _serving.add(node)
    if threading.current_thread() is not threading.main_thread():
        return False
    if not ours and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _stop_all)
    return True


def _stop_all() -> None:
    for node in list(_serving):
        node.graceful_shutdown(signal.SIGTERM)


def _release_sigterm(node: QueueWorker) -> None:
    _serving.discard(node)
    if node.handles_sigterm and not any(other.handles_sigterm for other in _serving):
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
