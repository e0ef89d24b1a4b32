"""BullMQ for Python. Completion comes by the queue's event stream and is matched by the job's id.

A waking worker asks for as many jobs as its concurrency, one script call each, so at low load a
small one is quicker: `w8`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence
from typing import Any, ClassVar

from bullmq import Queue, QueueEvents, Worker

from bench.harness.contract import Base, tick
from bench.harness.several import chunks


class Adapter(Base):
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"concurrency": None},
        "w8": {"concurrency": 8},
    }

    def connection(self) -> dict[str, str]:
        return {"connection": self.wide_url}

    def run_worker(self) -> None:
        async def echo(job: Any, token: str) -> Any:
            tick()
            return job.data["p"]

        async def serve() -> None:
            concurrency = self.options["concurrency"] or self.worker_concurrency
            worker = Worker("bench", echo, {**self.connection(), "concurrency": concurrency})
            await asyncio.Event().wait()
            await worker.close()

        asyncio.run(serve())

    async def open(self, concurrency: int) -> None:
        self._queue = Queue("bench", self.connection())
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._events = QueueEvents("bench", self.connection())
        self._events.on("completed", self._completed)
        await asyncio.sleep(0.3)

    def _completed(self, event: dict[str, Any], entry_id: str) -> None:
        future = self._waiting.pop(event["jobId"], None)
        if future is not None and not future.done():
            future.set_result(event.get("returnvalue"))

    async def call(self, payload: str) -> object:
        job_id = f"s{os.getpid()}-{next(self._numbers)}"
        future = self._waiting[job_id] = asyncio.get_running_loop().create_future()
        await self._queue.add("echo", {"p": payload}, {"jobId": job_id, "removeOnComplete": True})
        return await future

    async def enqueue(self, payloads: Sequence[str]) -> None:
        options = {"removeOnComplete": True}
        for some in chunks(payloads):
            await self._queue.addBulk(
                [{"name": "echo", "data": {"p": payload}, "opts": options} for payload in some]
            )

    async def close(self) -> None:
        await self._events.close()
        await self._queue.close()
