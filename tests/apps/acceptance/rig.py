"""Real processes around a scripted target: gateways, workers, and a Redis of their own.

with site() as here:
    here.up()
    assert here.ask(b"GET", b"/path").status == 200
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.cli.support import environment
from tests.servers import PATIENCE_S, Server, free_ports, until, valkey

from .rawclient import Got, ask
from .rawtarget import RawTarget, raw_target

_numbers = itertools.count(1)
PROBE = b"/~probe"


class Process:
    """A process of ours with its log."""

    def __init__(
        self,
        module: str,
        words: Sequence[str],
        env: dict[str, str],
        folder: Path,
        dotenv: str = "",
    ) -> None:
        self.log = folder / f"{module}-{next(_numbers)}.log"
        self.cwd = Path(tempfile.mkdtemp(dir=folder))
        if dotenv:
            (self.cwd / ".env").write_text(dotenv)
        with self.log.open("wb") as out:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=self.cwd,
                env=environment(**env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.pid = self.popen.pid

    def said(self) -> str:
        return self.log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log lines that are JSON."""
        return [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]

    def children(self) -> list[int]:
        """Process ids of its children."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def running(self) -> bool:
        return self.popen.poll() is None

    def wait(self, timeout: float = 30.0) -> int:
        return self.popen.wait(timeout)

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.popen.send_signal(number)

    def kill_all(self) -> None:
        """kill -9 for its children and it at one moment. The children first: left alone for a
        moment, they would begin to end in good order."""
        family = [*self.children(), self.pid]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait(PATIENCE_S)

    def end(self) -> None:
        """Stop it, in good order if it will."""
        if self.running():
            self.terminate()
            try:
                self.popen.wait(8)
            except subprocess.TimeoutExpired:
                self.kill_all()


class Gateway(Process):
    """A gateway on a port."""

    port: int

    def ask(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        *lines: bytes,
        body: bytes | None = None,
        timeout: float = 20.0,
    ) -> Got:
        """One request on a connection of its own."""
        return ask(self.port, method, target, *lines, body=body, timeout=timeout)


class Later:
    """A call in a thread; `result` gives what it gave or raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._value: Any = None
        self.began = time.monotonic()
        self.took = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
        self.took = time.monotonic() - self.began

    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, timeout: float = 30.0) -> Any:
        self._thread.join(timeout)
        assert self.done(), f"no result within {timeout:g} s"
        if self._error is not None:
            raise self._error
        return self._value


class Site:
    """A queue, a target, and the processes that a test starts; `settings` are for all of them."""

    def __init__(self, server: Server, target: RawTarget, folder: Path, **settings: str) -> None:
        self.server = server
        self.target = target
        self.folder = folder
        self.queue = f"q{next(_numbers)}-{os.getpid()}"
        self.settings = {
            "PEAK_REDIS_URL": server.url,
            "PEAK_QUEUE": self.queue,
            "FAST_PRIORITY_TARGET_BASE_URL": target.url,
            "FAST_PRIORITY_HOST": "127.0.0.1",
            "PEAK_DRAIN_TIMEOUT": "3",
            **settings,
        }
        self.processes: list[Process] = []
        self.port = 0

    def _env(self, more: dict[str, str]) -> dict[str, str]:
        """Settings for a process; an empty value takes a setting away."""
        return {name: value for name, value in {**self.settings, **more}.items() if value}

    def start(self, module: str, *words: str, **settings: str) -> Process:
        """Any module as a process."""
        process = Process(module, words, self._env(settings), self.folder)
        self.processes.append(process)
        return process

    def start_by_dotenv(self, module: str, **settings: str) -> Process:
        """Any module as a process that finds its settings in `.env` only."""
        lines = ["# how to run it", ""]
        lines += [f"{name}={value}" for name, value in self._env(settings).items()]
        process = Process(module, (), {}, self.folder, "\n".join([*lines, ""]))
        self.processes.append(process)
        return process

    def gateway(self, *words: str, ready: bool = True, **settings: str) -> Gateway:
        """A gateway that answers, `ready` that has reached Redis too; the site asks the first."""
        port = free_ports(1)[0]
        env = self._env({"FAST_PRIORITY_PORT": str(port), **settings})
        gateway = Gateway("gateway_app", words, env, self.folder)
        gateway.port = port
        self.processes.append(gateway)
        page = b"/gateway_ready" if ready else b"/gateway_live"

        def up() -> bool:
            assert gateway.running(), gateway.said()
            return gateway.ask(b"GET", page, timeout=5).status == 200

        until(up, what="a gateway that answers")
        self.port = self.port or port
        return gateway

    def worker(
        self, processes: int = 1, concurrency: int = 1, *, wait: bool = True, **settings: str
    ) -> Process:
        """Workers; `wait`: until one has carried a request, which the target then forgets."""
        words = ["-p", str(processes), "-c", str(concurrency)]
        worker = self.start("worker_app", *words, **settings)
        if wait:
            self.probe()
        return worker

    def up(self, processes: int = 1, concurrency: int = 1, **settings: str) -> Gateway:
        """Gateway and workers, started together."""
        self.worker(processes, concurrency, wait=False, **settings)
        gateway = self.gateway(ready=True, **settings)
        self.probe()
        return gateway

    def probe(self) -> None:
        """A request all the way; needs a gateway."""
        assert self.ask(b"GET", PROBE, timeout=30).status == 200
        self.target.seen.clear()

    def ask(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        *lines: bytes,
        body: bytes | None = None,
        timeout: float = 20.0,
    ) -> Got:
        """One request of the first gateway, on a connection of its own."""
        return ask(self.port, method, target, *lines, body=body, timeout=timeout)

    def later(
        self, method: bytes, target: bytes, *lines: bytes, body: bytes | None = None
    ) -> Later:
        """`ask` in a thread of its own."""
        return Later(lambda: self.ask(method, target, *lines, body=body, timeout=60))

    def gauge(self) -> dict[str, Any]:
        """Waiting requests as the health page has them."""
        page: dict[str, Any] = json.loads(self.ask(b"GET", b"/gateway_health").body)
        return page

    def waiting(self, count: int) -> None:
        """Until so many requests wait in line."""
        end = time.monotonic() + 10
        while (found := sum(self.gauge()["queue"].values())) != count:
            assert time.monotonic() < end, f"{found} wait, expected {count}"
            time.sleep(0.03)  # the page asks Redis and the target, on a machine that is busy

    def end(self) -> None:
        for process in reversed(self.processes):
            process.end()


@contextlib.contextmanager
def site(server: Server | None = None, **settings: str) -> Iterator[Site]:
    """A site of its own; with a Redis of its own unless one is given."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pt-", dir="/tmp")))
        target = stack.enter_context(raw_target())
        one = Site(server or stack.enter_context(valkey()), target, folder, **settings)
        stack.callback(one.end)
        yield one
