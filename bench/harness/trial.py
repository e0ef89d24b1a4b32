"""One repeat of one system against a server of its own: round trips, or a backlog and idleness."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .contract import Tick
from .machine import load, steal
from .process import Process, command_of
from .server import Server

OPEN_S, ENQUEUE_S, TRIP_S = 30.0, 180.0, 60.0
WARM_S = 0.5
SETTLE_S = 0.5
ANY = 10_000_000
FIRST = 64


@dataclass
class Trial:
    """A system, its worker and its submitter, upon one server. `close` ends the two."""

    system: str
    server: Server
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="peak-bench-")
        self._tick_path = Path(self._folder.name) / "tick"
        self.tick = Tick.create(self._tick_path)
        self._log = open_log(self.system)
        self.submitter: Process | None = None
        self.worker: Process | None = None
        self.server.ask("FLUSHALL")

    def start(self, role: str) -> Process:
        """Start its worker or its submitter."""
        env = {"BENCH_TICK": str(self._tick_path), "BENCH_PORT": str(self.server.port), **self.env}
        process = Process(command_of(role, self.system), env, self._log, talks=role == "submit")
        if role == "submit":
            self.submitter = process
        else:
            self.worker = process
        return process

    def close(self) -> None:
        """End both."""
        for process in (self.submitter, self.worker):
            if process is not None:
                process.stop()
        self._log.close()
        self._folder.cleanup()


@contextlib.contextmanager
def trial(system: str, server: Server, **env: str) -> Iterator[Trial]:
    """A trial that is cleaned up after."""
    one = Trial(system, server, env)
    try:
        yield one
    finally:
        one.close()


def open_log(name: str) -> IO[bytes]:
    """Where the stderr of a system goes: BENCH_LOGS/NAME.log, or nowhere."""
    folder = os.environ.get("BENCH_LOGS")
    return open(Path(folder) / f"{name}.log" if folder else os.devnull, "ab")


def round_trips(
    system: str, server: Server, levels: Sequence[int], seconds: float, **env: str
) -> dict[str, Any]:
    """Figures by number in flight; `{"failed": …}` where it would not run."""
    found: dict[str, Any] = {}
    with trial(system, server, **env) as one:
        try:
            submitter = one.start("submit")
            worker = one.start("worker")
            submitter.ask(OPEN_S, op="open", concurrency=max(levels))
            time.sleep(1.0)
            warm = submitter.ask(TRIP_S, op="trip", concurrency=1, most=5, seconds=15)
            if not warm["done"]:
                raise RuntimeError(f"no round trip came back: {warm['first_error'] or 'no word'}")
            for level in levels:
                found[str(level)] = _phase(server, submitter, worker, level, seconds)
        except (RuntimeError, TimeoutError, OSError) as error:
            found["failed"] = f"{type(error).__name__}: {error}"[:300]
    return found


def _phase(
    server: Server, submitter: Process, worker: Process, level: int, seconds: float
) -> dict[str, Any]:
    """One number in flight, after a warm-up."""
    submitter.ask(TRIP_S, op="trip", concurrency=level, most=ANY, seconds=WARM_S)
    before, stolen = server.counters(), steal()
    spent = submitter.cpu(), worker.cpu()
    figures = submitter.ask(TRIP_S, op="trip", concurrency=level, most=ANY, seconds=seconds)
    used = submitter.cpu() - spent[0], worker.cpu() - spent[1]
    cost = server.counters().since(before, figures["done"])
    count = max(1, figures["done"])
    return {
        **figures,
        **cost,
        "cpu_submitter_us": used[0] * 1e6 / count,
        "cpu_worker_us": used[1] * 1e6 / count,
        "load": load(),
        "steal_s": steal() - stolen,
    }


def backlog(system: str, server: Server, tasks: int, drain_s: float) -> dict[str, Any]:
    """Enqueue with no worker, memory of what waits, then drain with one worker."""
    found: dict[str, Any] = {"load": load()}
    with trial(system, server) as one:
        try:
            submitter = one.start("submit")
            submitter.ask(OPEN_S, op="open", concurrency=64)
            # What the server makes once for each command it meets is no task's.
            submitter.ask(ENQUEUE_S, op="enqueue", count=FIRST)
            time.sleep(SETTLE_S)
            empty, before = server.used_bytes(), server.counters()
            took = submitter.ask(ENQUEUE_S, op="enqueue", count=tasks)
            cost = server.counters().since(before, tasks)
            time.sleep(SETTLE_S)
            found["enqueue_per_s"] = tasks / took["seconds"]
            found["enqueue_commands"] = cost["commands"]
            found["enqueue_script_us"] = cost["script_us"]
            found["bytes_per_task"] = (server.used_bytes() - empty) / tasks
            one.start("worker")
            found.update(_drain(one, FIRST + tasks, drain_s))
        except (RuntimeError, TimeoutError, OSError) as error:
            found["failed"] = f"{type(error).__name__}: {error}"[:300]
    return found


def _drain(one: Trial, tasks: int, drain_s: float) -> dict[str, float | None]:
    """The rate from the first to the last task that the handler saw; cut off after `drain_s`."""
    give_up = time.monotonic() + drain_s + 10
    while time.monotonic() < give_up:
        count, first, _ = one.tick.read()
        if count >= tasks or (first and time.monotonic() - first > drain_s):
            break
        time.sleep(0.02)
    count, first, last = one.tick.read()
    rate = (count - 1) / (last - first) if count > 1 and last > first else None
    return {"drained": count, "drain_per_s": rate}


def _settle(worker: Process) -> None:
    """Until it has started, by its CPU: a second in which it used less than a quarter of one."""
    for _ in range(20):
        before = worker.cpu()
        time.sleep(1.0)
        if worker.cpu() - before < 0.25:
            return


def idle(system: str, server: Server, seconds: float) -> dict[str, Any]:
    """Commands a second, and CPU, of a worker with nothing to do."""
    with trial(system, server) as one:
        worker = one.start("worker")
        time.sleep(2.0)
        _settle(worker)
        before, spent, began = server.counters(), worker.cpu(), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        calls = server.counters().since(before, 1)
        return {
            "idle_commands_per_s": calls["commands"] / took,
            "idle_cpu": (worker.cpu() - spent) / took,
            "idle_by_name": {name: n / took for name, n in calls["by_name"].items()},
        }
