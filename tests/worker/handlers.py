"""A worker for tests that start processes. Each run is noted in a file: `id attempt pid`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from worker_app import Context, Worker

FOLDER = Path(os.environ.get("T_FOLDER", "."))


@asynccontextmanager
async def lifespan(_: Worker) -> AsyncIterator[str]:
    """Notes that it was left."""
    yield "state"
    note("left", "lifespan")


worker = Worker(
    os.environ.get("T_QUEUE", "default"),
    url=os.environ.get("T_URL"),
    lifespan=lifespan,
    concurrency=int(os.environ.get("T_CONCURRENCY", "64")),
    drain_timeout=float(os.environ.get("T_DRAIN", "10")),
    grace=float(os.environ.get("T_GRACE", "0.5")),
)


def note(file: str, text: str) -> None:
    """Append one line; one write, so that processes don't mix."""
    with (FOLDER / file).open("ab", buffering=0) as out:
        out.write(f"{text}\n".encode())


def ran(ctx: Context) -> None:
    """Note a run."""
    note("ran", f"{ctx.id} {ctx.attempt} {os.getpid()}")


@worker.route("sleep")
async def sleep(seconds: float, ctx: Context) -> str:
    """Takes a while."""
    ran(ctx)
    await asyncio.sleep(seconds)
    return ctx.id


@worker.route("say")
def say(text: str) -> None:
    """Leaves a text to the buffer of the standard output."""
    print(text)


@worker.route("thread")
def thread(seconds: float, ctx: Context) -> str:
    """The same in a thread."""
    ran(ctx)
    time.sleep(seconds)
    return ctx.id


@worker.route("block")
async def block(seconds: float, ctx: Context) -> int:
    """Blocks the event loop."""
    ran(ctx)
    time.sleep(seconds)  # noqa: ASYNC251 - on purpose
    return ctx.attempt


@worker.route("die")
async def die(how: str, ctx: Context) -> None:
    """Takes its process along."""
    ran(ctx)
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(3)


@worker.route("stubborn", timeout=0.5)
def stubborn(seconds: float, ctx: Context) -> None:
    """A thread that goes on past its deadline."""
    ran(ctx)
    time.sleep(seconds)


@worker.route("state")
async def state(_: Any, ctx: Context) -> Any:
    """What the lifespan gave."""
    return [ctx.state, ctx.route, ctx.level, ctx.tenant, os.getpid()]


@worker.route("compute", kind="process")
def compute(payload: Any) -> Any:
    """In a process of the pool."""
    return [payload, os.getpid()]


@worker.route("compute_ctx", kind="process", timeout=1.0, retry_on=(KeyError,))
def compute_ctx(payload: Any, ctx: Context) -> Any:
    """What a process of the pool can do wrong."""
    ran(ctx)
    if payload == "raise":
        raise ValueError("boom")
    if payload == "again":
        raise KeyError("again")
    if payload == "exit":
        sys.exit(4)
    if payload == "die":
        os._exit(7)
    if payload == "segfault":
        ctypes.string_at(0)
    if payload == "spin":
        while True:
            pass
    return [payload, ctx.id, ctx.attempt, ctx.state, ctx.remaining() > 0]
