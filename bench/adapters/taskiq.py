"""taskiq with taskiq-redis. A result is polled for: every 0.2 s by default, 5 ms in the `_fast`
variants. Results as MessagePack, the quickest that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from taskiq.api import run_receiver_task
from taskiq.serializers import MSGPackSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from bench.harness.contract import Base, tick
from bench.harness.several import by_many


class Adapter(Base):
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"kind": "list", "poll": 0.2},
        "list": {"kind": "list", "poll": 0.2},
        "list_fast": {"kind": "list", "poll": 0.005},
        "stream": {"kind": "stream", "poll": 0.2},
        "stream_fast": {"kind": "stream", "poll": 0.005},
    }

    def broker(self) -> Any:
        serializer = MSGPackSerializer()
        results = RedisAsyncResultBackend(self.url, result_ex_time=60, serializer=serializer)
        if self.options["kind"] == "list":
            broker = ListQueueBroker(self.url, queue_name="bench")
        else:
            broker = RedisStreamBroker(self.url, queue_name="bench", consumer_id="0")
        broker = broker.with_result_backend(results)

        async def echo(payload: str) -> str:
            tick()
            return payload

        self._echo = broker.task(task_name="echo")(echo)
        return broker

    def run_worker(self) -> None:
        async def serve() -> None:
            broker = self.broker()
            await broker.startup()
            await run_receiver_task(
                broker,
                max_async_tasks=self.worker_concurrency,
                max_prefetch=self.worker_concurrency,
                validate_params=False,
                run_startup=False,
            )

        asyncio.run(serve())

    async def open(self, concurrency: int) -> None:
        self._broker = self.broker()
        await self._broker.startup()

    async def call(self, payload: str) -> object:
        task = await self._echo.kiq(payload)
        poll = self.options["poll"]
        return (await task.wait_result(check_interval=poll, timeout=30)).return_value

    async def enqueue(self, payloads: Sequence[str]) -> None:
        await by_many(payloads, self._echo.kiq)

    async def close(self) -> None:
        await self._broker.shutdown()
