"""Starts the parts of a system and waits until each serves: backend, workers, gateway."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pyclient.commands import Commands
from pyclient.connection import Connection
from pyclient.errors import PeakError
from pyclient.keys import Keys
from pyclient.scripts import load_scripts

from .family import Child, Family, Output
from .http import request

_START_S = 60.0  # a machine that does much else takes half of it
_PAUSE_S = 0.05


class NotReadyError(PeakError):
    """A part did not come up in time."""


async def start_backend(family: Family, *, slots: int, work_s: float) -> tuple[Child, str]:
    """The toy API and its address."""
    command = [sys.executable, "-m", "pyclient.demo.backend"]
    command += ["--slots", str(slots), "--work", str(work_s)]
    child = await family.start("backend", command, output="pipe")
    assert child.process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            line = await child.process.stdout.readline()
    except TimeoutError:
        raise NotReadyError(f"the backend does not start: {child.tail()}") from None
    if not line:
        await child.process.wait()
        child.check()
    return child, line.decode().strip()


async def start_workers(
    family: Family,
    env: Mapping[str, str],
    *,
    processes: int,
    concurrency: int,
    cwd: Path | None = None,
    output: Output = "log",
) -> Child:
    """The worker app with its built-in route `http`."""
    command = [sys.executable, "-m", "worker_app", "-p", str(processes), "-c", str(concurrency)]
    return await family.start("workers", command, env=env, cwd=cwd, output=output)


async def start_gateway(
    family: Family,
    env: Mapping[str, str],
    *,
    host: str = "127.0.0.1",
    port: int,
    cwd: Path | None = None,
    output: Output = "log",
) -> Child:
    """The gateway app, listening there."""
    env = {**env, "FAST_PRIORITY_HOST": host, "FAST_PRIORITY_PORT": str(port)}
    command = [sys.executable, "-m", "gateway_app"]
    return await family.start("gateway", command, env=env, cwd=cwd, output=output)


async def gateway_ready(gateway: Child, url: str) -> None:
    """Wait for 200 of /gateway_ready. Raises NotReadyError, ChildEnded."""
    said = "nothing"
    async for _ in _tries():
        gateway.check()
        try:
            status, body = await request(f"{url}/gateway_ready")
            if status == 200:
                return
            said = f"{status} {body[:200]!r}"
        except OSError as error:
            said = str(error)
    raise NotReadyError(f"the gateway is not ready after {_START_S:g} s: {said}\n{gateway.tail()}")


async def workers_ready(workers: Child, commands: Commands) -> None:
    """Wait until one has asked for work. Raises NotReadyError, ChildEnded."""
    async for _ in _tries():
        workers.check()
        if (await commands.gauge())["claimed_ms"] >= 0:
            return
    raise NotReadyError(f"no worker asks for work after {_START_S:g} s: {workers.tail()}")


async def _tries() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    until = loop.time() + _START_S
    while loop.time() < until:
        yield
        await asyncio.sleep(_PAUSE_S)


@asynccontextmanager
async def opened(url: str, prefix: str, queue: str) -> AsyncIterator[tuple[Connection, Commands]]:
    """The scripts of a queue, to look at it."""
    conn = Connection(url, client_name="peakshaver-demo")
    await conn.open()
    try:
        yield conn, Commands(conn, load_scripts(), Keys(prefix, queue))
    finally:
        await conn.aclose()


async def purge(conn: Connection, keys: Keys) -> None:
    """Delete every key of a queue that was made for a demo on somebody's server."""
    cursor: Any = b"0"
    while True:
        reply = await conn.command("SCAN", cursor, "MATCH", keys.base + b"*", "COUNT", 1000)
        cursor = reply[0]
        for key in reply[1]:
            await conn.command("DEL", key)
        if cursor == b"0":
            return
