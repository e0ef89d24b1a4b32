"""Nodes and gateways as processes, and calls as the README makes them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import redis as redis_py
import redis.asyncio

from tests.servers import PATIENCE_S, Server

from .seed import DistributedTaskApplyManager, route_of, shutdown

ROOT = Path(__file__).resolve().parents[2]


class Refusal(Exception):
    """`success()` was False."""


class Process:
    """A program of the tests, its output in a file."""

    def __init__(self, folder: Path, module: str, *arguments: str, **env: str) -> None:
        self.log = folder / f"{module.rpartition('.')[2]}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text("utf-8", "replace")

    async def said(self, text: str) -> None:
        """Wait until it has said so."""
        await until(lambda: text in self.text(), what=text)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Its exit code; fails the test where it does not end."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.text()[-2000:]}") from None

    def end(self) -> None:
        """Wait for its end a little, then kill it."""
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Site:
    """One Redis, its nodes, and calls from this process."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.client: Any = redis.asyncio.Redis.from_url(server.url)
        self.raw: Any = redis_py.Redis.from_url(server.url)
        self.processes: list[Process] = []

    def start(self, module: str, *arguments: str, **env: str) -> Process:
        """Start a program."""
        process = Process(self.folder, module, *arguments, **env)
        self.processes.append(process)
        return process

    def node(
        self,
        routes: Mapping[str, str],
        limits: Mapping[str, int] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        client: Mapping[str, bool] | None = None,
        **options: Any,
    ) -> Process:
        """Start a node; `limits` is 100 a route where it is not given."""
        table = dict.fromkeys(routes, 100) if limits is None else dict(limits)
        options.setdefault("run_startup", True)
        spec = {
            "url": self.server.url,
            "routes": dict(routes),
            "options": {"route_table_maximum_concurrency": table, **options},
            **(client or {}),
        }
        return self.start("tests.compat.node", json.dumps(spec), **(env or {}))

    async def ready(self, *paths: str, timeout: float = PATIENCE_S) -> None:
        """Wait until routes are known."""
        for path in paths:
            name = f"room:{route_of(path)}"
            try:
                await until(partial(self.raw.hget, self.key("conf"), name), timeout)
            except AssertionError:
                said = "\n".join(process.text()[-3000:] for process in self.processes)
                raise AssertionError(f"{path!r} was never made known:\n{said}") from None

    async def living(self, count: int) -> None:
        """Wait until so many tasks are in the queue, waiting or running."""
        await until(lambda: self.raw.hlen(self.key("tasks")) == count, what=f"{count} tasks")

    def key(self, name: str) -> str:
        """A key of the queue."""
        prefix = os.environ.get("PEAK_PREFIX", "peak")
        return f"{prefix}:{{{os.environ['PEAK_QUEUE']}}}:{name}"

    async def call(
        self,
        path: str,
        form: Any = None,
        level: int = 0,
        *,
        client: Any = None,
        **timeouts: float,
    ) -> Any:
        """As the README's handlers do; raises Refusal where they answer 503 at once."""
        manager = DistributedTaskApplyManager(
            redis=client or self.client, request_path=path, **timeouts
        )
        async with manager:
            if not manager.success():
                raise Refusal(path)
            return await manager.rclt(form_data=form or {}, task_level=level)

    async def free(self, path: str, at_most: int) -> int:
        """How many more requests the route takes now, found by taking them all."""
        async with contextlib.AsyncExitStack() as stack:
            for count in range(at_most + 1):
                manager = DistributedTaskApplyManager(self.client, path)
                await stack.enter_async_context(manager)
                if not manager.success():
                    return count
        return at_most + 1

    def noted(self) -> list[str]:
        """What functions have noted."""
        return [text.decode() for text in self.raw.lrange("noted", 0, -1)]

    async def aclose(self) -> None:
        """End all processes and connections."""
        for process in self.processes:  # in good order, as most end where they are used
            process.process.terminate()
        for process in self.processes:
            process.end()
        await shutdown()
        await self.client.aclose()
        self.raw.close()


@contextlib.asynccontextmanager
async def site(server: Server, folder: Path) -> AsyncIterator[Site]:
    """A site, ended at the end."""
    made = Site(server, folder)
    try:
        yield made
    finally:
        await made.aclose()


async def until(condition: Callable[[], Any], timeout: float = PATIENCE_S, what: str = "") -> None:
    """Poll; connection errors count as not yet."""
    end = time.monotonic() + timeout
    while True:
        with contextlib.suppress(redis_py.RedisError):
            met = condition()
            if met if not isinstance(met, Awaitable) else await met:
                return
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.01)


@contextlib.contextmanager
def took(at_least: float, at_most: float) -> Iterator[None]:
    """Fail where the block takes more or less time."""
    begun = time.monotonic()
    yield
    seconds = time.monotonic() - begun
    assert at_least <= seconds <= at_most, f"took {seconds:.3f} s"
