"""Handlers for `python -m worker_app tests.faults.worker:worker`.

Each run of `work` is an effect at the backend, with the id, fence and process of the run.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from worker_app import Context, Worker

from .backend import SOCKET
from .forwarding import add_http
from .history import FOLDER, Recorder
from .recorded import Crash, disguise, wrap

record = Recorder.of_environment()
crash = Crash(record)
wrap(record, crash)
disguise()
worker = Worker(
    os.environ.get("FAULTS_QUEUE", "faults"),
    url=os.environ["FAULTS_URL"],
    concurrency=int(os.environ.get("FAULTS_CONCURRENCY", "8")),
    drain_timeout=float(os.environ.get("FAULTS_DRAIN", "10")),
    grace=float(os.environ.get("FAULTS_GRACE", "1")),
)
SOCKET_PATH = str(Path(os.environ[FOLDER]) / SOCKET)


@worker.route("work", attempts=20, timeout=60.0)
async def work(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Ask the backend to work for `ms`."""
    await _begin(payload, ctx)
    await _effect(payload, ctx)
    crash.at("worked")
    return {"n": payload["n"], "pad": payload.get("pad", "")}


if "FAST_PRIORITY_TARGET_BASE_URL" in os.environ:  # serves a gateway, too
    add_http(worker, record)


@worker.route("echo")
async def echo(payload: dict[str, Any]) -> dict[str, Any]:
    """The nonce back, at once, without a witness."""
    return payload


@worker.route("bytes", attempts=20, timeout=60.0, raw=True)
async def raw(payload: bytes, ctx: Context) -> bytes:
    """As `work`, for `Queue.exchange`."""
    asked = json.loads(payload)
    await _begin(asked, ctx)
    await _effect(asked, ctx)
    crash.at("worked")
    return json.dumps({"n": asked["n"]}).encode()


@worker.route("thread", attempts=20, timeout=60.0)
def busy(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Computes in a thread without a break; an effect all the same."""
    record("start", n=payload["n"], id=ctx.id, fence=ctx.fence)
    asyncio.run(_effect({**payload, "ms": 0}, ctx))
    end = time.monotonic() + payload["ms"] / 1000
    while time.monotonic() < end:
        sum(range(1000))
    return {"n": payload["n"]}


@worker.route("block", attempts=20, timeout=60.0)
async def block(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Blocks the event loop."""
    record("start", n=payload["n"], id=ctx.id, fence=ctx.fence)
    await _effect({**payload, "ms": 0}, ctx)
    time.sleep(payload["ms"] / 1000)  # noqa: ASYNC251 - on purpose
    return {"n": payload["n"]}


@worker.route("stubborn", attempts=1, timeout=0.5)
def stubborn(payload: dict[str, Any], ctx: Context) -> None:
    """A C call that goes on past its deadline."""
    record("start", n=payload["n"], id=ctx.id, fence=ctx.fence)
    time.sleep(payload["ms"] / 1000)


@worker.route("poison", attempts=3, timeout=10.0)
async def poison(payload: dict[str, Any], ctx: Context) -> None:
    """Ends badly, in the way that `how` says."""
    record("start", n=payload["n"], id=ctx.id, fence=ctx.fence)
    await _effect({**payload, "ms": 0}, ctx)
    match payload["how"]:
        case "raise":
            raise ValueError("poison")
        case "sys.exit":
            sys.exit(4)
        case "memory":
            raise MemoryError
    record("fault", what="crash", target=record.name, on=True, point=payload["how"])
    if payload["how"] == "segfault":
        ctypes.string_at(0)
    os._exit(7)


async def _begin(payload: dict[str, Any], ctx: Context) -> None:
    record("start", n=payload["n"], id=ctx.id, fence=ctx.fence)
    crash.at("started")


async def _effect(payload: dict[str, Any], ctx: Context) -> None:
    reader, writer = await asyncio.open_unix_connection(SOCKET_PATH)
    try:
        asked = {"n": payload["n"], "id": ctx.id, "fence": ctx.fence, "by": record.name}
        writer.write(json.dumps({**asked, "ms": payload["ms"]}).encode() + b"\n")
        if payload["ms"]:
            await asyncio.sleep(min(0.002, payload["ms"] / 2000))
            crash.at("midway")
        if await reader.readline() != b"done\n":
            raise OSError("the backend is gone")
    finally:
        writer.close()
