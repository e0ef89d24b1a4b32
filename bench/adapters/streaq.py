"""streaQ (coredis, streams, Lua functions). A result is waited for by a subscription per task, and
leaving it costs coredis 0.1 s. A waiter holds two connections, or all stand still."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from streaq import Worker

from bench.harness.contract import Base, tick
from bench.harness.several import chunks


class Adapter(Base):
    def worker(self) -> Any:
        worker = Worker(
            redis_url=self.url,
            concurrency=self.worker_concurrency,
            anyio_kwargs={"use_uvloop": True},
            redis_kwargs={"max_connections": 4000},
        )

        async def echo(payload: str) -> str:
            tick()
            return payload

        self._echo = worker.task(ttl=60, silent=True)(echo)
        return worker

    def run_worker(self) -> None:
        self.worker().run_sync()

    async def open(self, concurrency: int) -> None:
        self._worker = self.worker()
        self._ready, self._over = asyncio.Event(), asyncio.Event()
        self._holding = asyncio.create_task(self._hold())
        await self._ready.wait()

    async def _hold(self) -> None:
        """Its context wants to be entered and left in one task."""
        async with self._worker:
            self._ready.set()
            await self._over.wait()

    async def call(self, payload: str) -> object:
        task = await self._echo.enqueue(payload)
        return (await task.result(timeout=30)).result

    async def enqueue(self, payloads: Sequence[str]) -> None:
        for some in chunks(payloads):
            await self._worker.enqueue_many([self._echo.enqueue(payload) for payload in some])

    async def close(self) -> None:
        self._over.set()
        await self._holding
