"""fastapi-queue 0.1.1 on aioredis. A result comes by a channel, so a connection, per request.

It has no call that only enqueues: for the backlog the private one is used, without its token.
A coroutine function it knows by its name, which has to begin with `async`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aioredis
from fastapi_queue import DistributedTaskApplyManager, QueueWorker

from bench.harness.contract import Base, tick
from bench.harness.several import by_many

NO_LIMIT = 99_999


class Silent:
    """It insists on a logger."""

    def debug(self, *_: object) -> None:
        pass

    info = warning = error = debug


async def async_echo(redis: object, mysql: object, payload: str) -> str:
    tick()
    return payload


class Adapter(Base):
    def run_worker(self) -> None:
        async def serve() -> None:
            worker = QueueWorker(
                aioredis.Redis.from_url(self.url),
                threads=self.worker_concurrency,
                route_table_maximum_concurrency={"/": NO_LIMIT},
                allowed_type_limit=None,
                run_startup=False,
                logger=Silent(),
            )
            worker.method_register("/", async_echo)
            waking = asyncio.create_task(self._wake_all())
            await worker.run_serve()
            await waking

        asyncio.run(serve())

    async def _wake_all(self) -> None:
        """A loop of its worker wakes by a message only: a backlog needs one for each."""
        await asyncio.sleep(0.5)
        client = aioredis.Redis.from_url(self.url)
        if await client.llen("queue:web"):
            for _ in range(self.worker_concurrency):
                await client.publish("channel:query", b"0")

    async def open(self, concurrency: int) -> None:
        self._redis = aioredis.Redis.from_url(self.url)
        await self._redis.set("routelimit:/", NO_LIMIT)

    async def call(self, payload: str) -> object:
        form = {"payload": payload}
        async with DistributedTaskApplyManager(redis=self._redis, request_path="/") as manager:
            if not manager.success():
                raise RuntimeError("refused")
            done, result = await manager.rclt(form_data=form, task_level=0)
            if not done:
                raise RuntimeError(f"failed: {result!r}")
            return result

    async def enqueue(self, payloads: Sequence[str]) -> None:
        async def one(payload: str) -> None:
            manager = DistributedTaskApplyManager(redis=self._redis, request_path="/")
            await manager._publish_query({"payload": payload}, 0)

        await by_many(payloads, one)

    async def close(self) -> None:
        await self._redis.close()
