"""arq. Both its worker and the wait for a result poll: every 0.5 s by default; `fast` has the
worker look every 10 ms and the submitter every 5 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from bench.harness.contract import Base, tick
from bench.harness.several import by_many


async def echo(context: object, payload: str) -> str:
    tick()
    return payload


class Adapter(Base):
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"worker": 0.5, "result": 0.5},
        "fast": {"worker": 0.01, "result": 0.005},
    }

    def settings(self) -> Any:
        return RedisSettings(port=self.port, max_connections=2000)

    def run_worker(self) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        Worker(
            functions=[echo],
            redis_settings=self.settings(),
            max_jobs=self.worker_concurrency,
            poll_delay=self.options["worker"],
            keep_result=60,
            handle_signals=False,
        ).run()

    async def open(self, concurrency: int) -> None:
        self._pool = await create_pool(self.settings())

    async def call(self, payload: str) -> object:
        job = await self._pool.enqueue_job("echo", payload)
        return await job.result(timeout=30, poll_delay=self.options["result"])

    async def enqueue(self, payloads: Sequence[str]) -> None:
        await by_many(payloads, lambda payload: self._pool.enqueue_job("echo", payload))

    async def close(self) -> None:
        await self._pool.aclose()
