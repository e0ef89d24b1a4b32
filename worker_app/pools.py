"""Threads and processes for handlers that would block the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

from .held import Held
from .process_pool import ProcessPool


class Pools:
    """Both are made when first used. A thread can't be stopped, a process is killed."""

    def __init__(self, *, threads: int, processes: int) -> None:
        self._threads = threads
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._processes = ProcessPool(processes)

    async def run_in_thread(self, held: Held, arguments: tuple[Any, ...]) -> Any:
        """Call a plain function in a thread."""
        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(
                self._threads, thread_name_prefix="peak-handler"
            )
        held.future = self._executor.submit(_call, held, arguments)
        try:
            return await asyncio.wrap_future(held.future)
        finally:
            held.future = None

    async def run_in_process(self, held: Held, body: bytes) -> bytes:
        """Call a plain function in a process of the pool; bytes in, bytes out."""
        return await self._processes.run(held, body)

    async def aclose(self) -> None:
        """End both without waiting for what runs."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        await self._processes.aclose()


def _call(held: Held, arguments: tuple[Any, ...]) -> Any:
    held.called = True
    try:
        return held.route.handler(*arguments)
    except StopIteration as error:  # can't be raised into a future
        raise RuntimeError(f"StopIteration: {error}") from error
