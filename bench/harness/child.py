"""A worker or a submitter, inside the environment of the system on trial.

    python -m bench.harness.child worker NAME[.VARIANT]
    python -m bench.harness.child submit NAME[.VARIANT]

The submitter reads one JSON command a line and answers one JSON line each:
`{"op": "open", "concurrency": 64}` · `{"op": "enqueue", "count": 20000}` ·
`{"op": "trip", "concurrency": 64, "most": 100, "seconds": 2}` · `{"op": "close"}`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

from bench.harness import trips
from bench.harness.contract import Base, payload

CLOSING_S = 2.0


def load(name: str) -> Base:
    """The adapter of NAME or NAME.VARIANT."""
    name, _, variant = name.partition(".")
    adapter: Base = importlib.import_module(f"bench.adapters.{name}").Adapter(variant or "default")
    return adapter


def commands() -> Iterator[dict[str, Any]]:
    """What the harness asks for, line by line."""
    for line in sys.stdin:
        yield json.loads(line)


def take_stdout() -> IO[str]:
    """Our stdout is the protocol's: whatever the system prints goes to stderr from now on."""
    ours = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return ours


def answer(out: IO[str], began: float, figures: dict[str, Any]) -> None:
    """One line back, with what the operation took."""
    out.write(json.dumps({**figures, "seconds": time.perf_counter() - began}) + "\n")


def serve_blocking(adapter: Base, out: IO[str]) -> None:
    """Modes "threads" and "window"."""
    trip = trips.threads if adapter.mode == "threads" else trips.window
    for command in commands():
        began, figures = time.perf_counter(), {}
        match command["op"]:
            case "open":
                adapter.open(command["concurrency"])
            case "enqueue":
                payloads = [payload(number) for number in range(command["count"])]
                began = time.perf_counter()
                adapter.enqueue(payloads)
            case "trip":
                figures = trip(adapter, command["concurrency"], command["most"], command["seconds"])
            case "close":
                answer(out, began, {})
                os._exit(0)  # threads that still wait are daemons, but a pool's need not be
        answer(out, began, figures)


async def serve(adapter: Base, out: IO[str]) -> None:
    """Mode "async"."""
    loop, lines = asyncio.get_running_loop(), commands()
    while (command := await loop.run_in_executor(None, next, lines, None)) is not None:
        began, figures = time.perf_counter(), {}
        match command["op"]:
            case "open":
                await adapter.open(command["concurrency"])
            case "enqueue":
                payloads = [payload(number) for number in range(command["count"])]
                began = time.perf_counter()
                await adapter.enqueue(payloads)
            case "trip":
                figures = await trips.coroutines(
                    adapter, command["concurrency"], command["most"], command["seconds"]
                )
            case "close":
                try:
                    await asyncio.wait_for(adapter.close(), CLOSING_S)
                finally:
                    answer(out, began, {})
                    os._exit(0)
        answer(out, began, figures)


def main(role: str, name: str) -> None:
    """Be a worker or a submitter until told to end."""
    out = take_stdout() if role == "submit" else None
    try:
        import uvloop
    except ImportError:
        pass
    else:  # by policy: workers of other systems start their loops themselves
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    adapter = load(name)
    if out is None:
        adapter.run_worker()
    elif adapter.mode == "async":
        asyncio.run(serve(adapter, out))
    else:
        serve_blocking(adapter, out)


if __name__ == "__main__":
    main(*sys.argv[1:3])
