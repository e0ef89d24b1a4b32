"""One system under test: a queue's processes, the witness, the load, and what breaks them.

A row of the matrix builds one, starts a load, injects its fault as often as it is told, and
asks for the verdict. Everything ends with the `with` block.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from pyclient import Queue
from tests.leaks import leaked_keys

from .backend import PORT, SOCKET
from .bounds import check, longest_gap
from .checks import COUNTED, Report, Rules
from .history import ROLE, Recorder, read
from .lifetimes import Lifetimes
from .load import Plan
from .processes import Child, Nursery, Process, no_sockets, port_of, until
from .story import Stories

QUEUE = "faults"
LEASE_S = 2.0


class Stand:
    """`url` is where Redis is; `look` gives clients that see all of it; `via` is what the product
    is told, where something stands between."""

    def __init__(
        self,
        url: str,
        look: Callable[[], redis.Redis],
        *,
        seed: int,
        lease_s: float = LEASE_S,
        limit: int = 0,
        via: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
        self.url = url
        self.via = via or url
        self.look = look
        self.lease_s = lease_s
        self.limit = limit
        self.seed = seed
        self.random = random.Random(seed)
        self.record = Recorder(self.folder, "conductor")
        self.children: list[Process] = []
        self.loads: list[Child] = []
        self.workers: list[Process] = []
        self.gateways: list[Child] = []
        self._env = env or {}
        self._rested = False
        self._nursery: Nursery | None = None

    def __enter__(self) -> Stand:
        try:
            self._child("backend", ["tests.faults.backend"])
            ready = self.folder / PORT
            until(lambda: ready.exists() and (self.folder / SOCKET).exists(), "the backend")
            self.configure(lease=self.lease_s, **({"limit": self.limit} if self.limit else {}))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.keep()
        self._close()

    def keep(self) -> None:
        """Copy histories and logs to $FAULTS_KEEP, where that is set, for whoever looks."""
        if kept := os.environ.get("FAULTS_KEEP"):
            place = Path(kept) / self.folder.name
            shutil.copytree(self.folder, place, ignore=no_sockets, dirs_exist_ok=True)

    # -- processes --------------------------------------------------------------------------

    def worker(self, *, concurrency: int = 8, crash: str = "", **env: str) -> Process:
        """A worker process as the supervisor starts it."""
        words = ["tests.faults.worker:worker", "--lifeline", "{lifeline}"]
        own = {"FAULTS_CONCURRENCY": str(concurrency), "FAULTS_CRASH": crash, **env}
        return self._forked(words, own)

    def supervised(self, processes: int, *, concurrency: int = 8, **env: str) -> Child:
        """`python -m worker_app -p N`."""
        words = ["worker_app", "tests.faults.worker:worker", "-p", str(processes)]
        child = self._child("worker", words, {"FAULTS_CONCURRENCY": str(concurrency), **env})
        self.workers.append(child)
        return child

    def forwarder(self, **env: str) -> Process:
        """A worker that sends requests on to the backend."""
        words = ["tests.faults.forwarder:worker", "--lifeline", "{lifeline}"]
        return self._forked(words, {**self.product(), **env})

    def gateway(self, **env: str) -> Child:
        """`python -m gateway_app`, ready."""
        listen = {"FAST_PRIORITY_HOST": "127.0.0.1", "FAST_PRIORITY_PORT": "0"}
        child = self._child("gateway", ["gateway_app"], {**self.product(), **listen, **env})
        self.gateways.append(child)
        until(lambda: child.says("gateway listens"), f"a gateway: {child.output()}")
        return child

    def load(self, **plan: Any) -> Child:
        """A load of programs that use the queue."""
        return self._load("native", Plan(seed=self._next(), **plan), {})

    def browse(self, **plan: Any) -> Child:
        """A load of HTTP clients on all gateways."""
        ports = ",".join(str(port_of(gateway)) for gateway in self.gateways)
        made = Plan(**{"mix": {"get": 1}, "route": "http", "seed": self._next(), **plan})
        return self._load("browser", made, {"FAULTS_PORTS": ports})

    def drop(self, child: Process) -> None:
        """Forget a process that has ended."""
        child.close()
        groups: tuple[list[Any], ...] = (self.children, self.workers, self.gateways, self.loads)
        for group in groups:
            if child in group:
                group.remove(child)

    # -- faults -----------------------------------------------------------------------------

    def fault(self, what: str, target: str = "*", *, on: bool) -> None:
        """Write down that something is broken from now, or no longer."""
        self.record("fault", what=what, target=target, on=on)

    @contextlib.contextmanager
    def broken(self, what: str, *targets: str) -> Iterator[None]:
        """The same around a block."""
        names = targets or ("*",)
        for name in names:
            self.fault(what, name, on=True)
        try:
            yield
        finally:
            for name in names:
                self.fault(what, name, on=False)

    def kill(self, child: Process) -> None:
        """kill -9."""
        with self.broken("kill", child.name):
            child.kill()
        self.drop(child)

    @contextlib.contextmanager
    def stopped(self, child: Process) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        with self.broken("stop", child.name):
            child.send(signal.SIGSTOP)
            try:
                yield
            finally:
                child.send(signal.SIGCONT)

    def saw(self, what: str, times: int = 1) -> None:
        """Count a rare path."""
        self.record("saw", what=what, times=times)

    # -- the queue --------------------------------------------------------------------------

    def configure(self, **settings: Any) -> None:
        """Settings of the queue."""

        async def apply() -> None:
            async with Queue.from_url(self.url, name=QUEUE) as queue:
                await queue.configure(**settings)

        asyncio.run(apply())

    def gauge(self) -> dict[str, Any]:
        """A snapshot of the queue."""

        async def ask() -> dict[str, Any]:
            async with Queue.from_url(self.url, name=QUEUE) as queue:
                return await queue.gauge()

        return asyncio.run(ask())

    # -- the end ----------------------------------------------------------------------------

    def rest(self, *, timeout: float = 60.0) -> None:
        """Stop the loads, wait until the queue is empty, and write down what is left."""
        for load in self.loads:
            load.send(signal.SIGTERM)
        for load in self.loads:
            code = load.wait(timeout + 30)
            assert code == 0, f"the load failed: {load.output()[-2000:]}"
        names = ("waiting", "running", "due", "places")
        end = time.monotonic() + timeout
        left = self.gauge()
        while any(left[name] for name in names) and time.monotonic() < end:
            time.sleep(0.1)
            left = self.gauge()
        keys = leaked_keys(Lifetimes(self.look()))  # type: ignore[arg-type]
        found: dict[str, Any] = {name: left[name] for name in names}
        self.record("rest", left={**found, "keys without a TTL": keys[:10]})
        self.record("books", **{name: left[name] for name in COUNTED})
        self._rested = True

    def verdict(self, rules: Rules) -> Report:
        """Come to rest, and judge."""
        if not self._rested:
            self.rest()
        self._collect_gaveup()
        return check(self.stories(), rules)

    def stories(self) -> Stories:
        """The history so far."""
        return Stories(read(self.folder))

    def gap(self, since: int) -> float:
        """The longest time since then in which nothing was done, in seconds."""
        files = [self.folder / f"{load.name}.jsonl" for load in self.loads]
        lines = (line for file in files for line in file.read_bytes().splitlines())
        done = [json.loads(line)["t"] for line in lines if b'"word":"done"' in line]
        return longest_gap(done, since, time.monotonic_ns())

    # -- inside -----------------------------------------------------------------------------

    def _collect_gaveup(self) -> None:
        for worker in self.workers:
            if not worker.running and worker.poll() not in (0, -signal.SIGKILL):
                self.saw(f"worker ended with {worker.poll()}")

    def product(self) -> dict[str, str]:
        """Settings for gateways and for workers that forward."""
        port = (self.folder / PORT).read_text()
        return {
            "PEAK_REDIS_URL": self.via,
            "PEAK_QUEUE": QUEUE,
            "PEAK_LEASE": str(self.lease_s),
            "PEAK_LOG": "json",
            "PEAK_WORKER_CONCURRENCY": "8",
            "FAST_PRIORITY_TARGET_BASE_URL": f"http://127.0.0.1:{port}",
            "FAST_PRIORITY_TTL": "30",
            **({"PEAK_CONCURRENCY": str(self.limit)} if self.limit else {}),
        }

    def _forked(self, words: list[str], env: dict[str, str]) -> Process:
        if self._nursery is None:
            self._nursery = Nursery(self.folder)
            self.children.append(self._nursery)
        base = {ROLE: "worker", **self._base()}
        child = self._nursery.fork(words, {**base, **env})
        self.children.append(child)
        self.workers.append(child)
        return child

    def _base(self) -> dict[str, str]:
        return {"FAULTS_URL": self.via, "FAULTS_QUEUE": QUEUE, **self._env}

    def _load(self, module: str, plan: Plan, env: dict[str, str]) -> Child:
        child = self._child("load", [f"tests.faults.{module}"], {**plan.as_env(), **env})
        self.loads.append(child)
        said = self.folder / f"{child.name}.jsonl"
        until(lambda: said.exists() and b'"submit"' in said.read_bytes()[:4096], "a load", 60)
        return child

    def _child(self, role: str, words: list[str], env: dict[str, str] | None = None) -> Child:
        child = Child(role, words, self.folder, {**self._base(), **(env or {})})
        self.children.append(child)
        return child

    def _next(self) -> int:
        return self.random.randrange(1 << 30)

    def _close(self) -> None:
        for child in reversed(self.children):
            child.close()
        self.record.close()
        shutil.rmtree(self.folder, ignore_errors=True)
