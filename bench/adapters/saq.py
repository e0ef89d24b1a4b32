"""SAQ on Redis. `apply` polls for the result: every 0.5 s by default, `fast` every 5 ms. `push` has
one subscription; what completes between its look and its subscription is missed until its
time-out, which counts as an error here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import redis.asyncio
from saq import Worker
from saq.queue.redis import RedisQueue

from bench.harness.contract import Base, tick
from bench.harness.several import by_many


async def echo(context: object, *, payload: str) -> str:
    tick()
    return payload


class Adapter(Base):
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"poll": 0.5},
        "fast": {"poll": 0.005},
        "push": {"poll": None},
    }

    def queue(self) -> Any:
        """With its own cap on calls at once, and redis-py's on connections, out of the way."""
        client = redis.asyncio.from_url(self.url, max_connections=2000)
        return RedisQueue(client, name="bench", max_concurrent_ops=128)

    def run_worker(self) -> None:
        async def serve() -> None:
            queue = self.queue()
            await queue.connect()
            await Worker(queue, functions=[echo], concurrency=self.worker_concurrency).start()

        asyncio.run(serve())

    async def open(self, concurrency: int) -> None:
        self._queue = self.queue()
        await self._queue.connect()

    async def call(self, payload: str) -> object:
        poll = self.options["poll"]
        if poll is not None:
            return await self._queue.apply("echo", payload=payload, timeout=30, poll_interval=poll)
        job = await self._queue.enqueue("echo", payload=payload, timeout=30)
        await job.refresh(until_complete=5)
        return job.result

    async def enqueue(self, payloads: Sequence[str]) -> None:
        await by_many(
            payloads, lambda payload: self._queue.enqueue("echo", payload=payload, timeout=600)
        )

    async def close(self) -> None:
        await self._queue.disconnect()
