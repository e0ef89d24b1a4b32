"""A worker for tests that have no event loop, and what they poll for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyclient import SyncQueue
from tests.pyclient.client_rig import TinyWorker, echo
from tests.servers import until


@contextmanager
def worker(url: str, name: str, handle: Callable[[Any], Any] = echo) -> Iterator[None]:
    """A tiny worker in a thread with a loop of its own."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        async with TinyWorker(url, name, handle):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("peak")]


def free(queue: SyncQueue) -> None:
    """Until nobody holds a slot."""

    async def running() -> int:
        commands = await queue._queue._engine.commands("hold")
        gauge = await commands.gauge()
        return int(gauge["running"] + gauge["waiting"])

    until(lambda: queue.run(running()) == 0, what="no slot held")
