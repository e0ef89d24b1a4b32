"""Workers for the tests: in this process, or as the command that users run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from pyclient import Queue
from pyclient.commands import Commands
from pyclient.connection import Connection
from pyclient.keys import Keys
from pyclient.scripts import load_scripts
from tests.servers import PATIENCE_S, Server
from worker_app import Context, Worker

Calls: TypeAlias = list[asyncio.Task[Any]]
ROOT = Path(__file__).resolve().parents[2]


def echo(server: Server, name: str, **options: Any) -> Worker:
    """A worker whose route `echo` answers its payload."""
    worker = Worker(name, url=server.url, **options)

    @worker.route("echo")
    async def _echo(payload: Any) -> Any:
        return payload

    return worker


def noting(worker: Worker, route: str) -> list[int]:
    """A route that answers its payload; the list of attempts at which it was called."""
    attempts: list[int] = []

    @worker.route(route)
    async def _note(payload: Any, ctx: Context) -> Any:
        attempts.append(ctx.attempt)
        return payload

    return attempts


@contextlib.asynccontextmanager
async def arriving(
    queue: Queue, route: str, payloads: Iterable[Any], every: float
) -> AsyncIterator[Calls]:
    """A call each `every` seconds while the block runs; the list of them all."""
    made: Calls = []

    async def arrive() -> None:
        for payload in payloads:
            made.append(asyncio.create_task(queue.call(route, payload, timeout=30)))
            await asyncio.sleep(every)

    task = asyncio.create_task(arrive())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker while the block runs, and stop it in good order."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        if not task.done():
            worker.stop()
        await task


@contextlib.asynccontextmanager
async def line(server: Server, name: str, worker: Worker) -> AsyncIterator[Queue]:
    """A worker and a queue to call it by."""
    async with serving(worker), Queue.from_url(server.url, name=name) as queue:
        yield queue


@contextlib.asynccontextmanager
async def commands(server: Server, name: str) -> AsyncIterator[Commands]:
    """The bare scripts."""
    conn = Connection(server.url)
    await conn.open()
    try:
        yield Commands(conn, load_scripts(), Keys("peak", name))
    finally:
        await conn.aclose()


async def eventually(
    condition: Callable[[], object], *, timeout: float = PATIENCE_S, what: str = ""
) -> None:
    """Poll until it holds, without blocking the loop."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}")
        await asyncio.sleep(0.01)


class Command:
    """`python -m worker_app` with handlers of handlers.py, its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        """What it wrote so far."""
        return self._output.read_text(encoding="utf-8")

    def children(self) -> list[int]:
        """Its worker processes, by pid."""
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return sorted(int(pid) for path in found for pid in path.read_text().split())

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """The exit code."""
        return self.process.wait(timeout)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.wait()


@contextlib.contextmanager
def command(server: Server, name: str, folder: Path, *words: str, **env: str) -> Iterator[Command]:
    """Start it, and kill what is left at the end of the block."""
    ours = ("PEAK_", "FAST_PRIORITY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    output = folder / f"{time.monotonic_ns()}.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker_app", *(words or ("tests.worker.handlers:worker",))],
            cwd=ROOT,
            env={**kept, "T_URL": server.url, "T_QUEUE": name, "T_FOLDER": str(folder), **env},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    made = Command(process, output)
    try:
        yield made
    finally:
        left = made.children()
        if process.poll() is None:
            process.kill()
            process.wait()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has, once its last thread has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


def lines(folder: Path, file: str = "ran") -> list[str]:
    """What handlers of handlers.py noted: one line a run."""
    path = folder / file
    return path.read_text().splitlines() if path.exists() else []


def line_count(folder: Path) -> int:
    """How many runs were noted."""
    return len(lines(folder))
