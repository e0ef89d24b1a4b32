"""No system: the least that a Python queue can do over redis-py. Nothing is promised.

One list there, one list back per submitter, up to 64 popped at once, and their answers pushed in
one pipeline. `naive` pops and answers one at a time.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import redis.asyncio

from bench.harness.contract import Base, tick
from bench.harness.several import chunks


class Adapter(Base):
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"batch": 64},
        "naive": {"batch": 1},
    }

    def run_worker(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        client: Any = redis.asyncio.Redis(port=self.port, socket_timeout=None)
        while True:
            batch = self.options["batch"]
            popped = await client.blmpop(0, 1, "tasks", direction="RIGHT", count=batch)
            answers: dict[str, list[str]] = {}
            for raw in popped[1] if popped else ():
                owner, number, payload = json.loads(raw)
                tick()
                if owner:
                    answers.setdefault(owner, []).append(json.dumps([number, payload]))
            pipe = client.pipeline(transaction=False)
            for owner, values in answers.items():
                pipe.lpush(owner, *values)
            if len(pipe):
                await pipe.execute()

    async def open(self, concurrency: int) -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            self.url, max_connections=32, timeout=None
        )
        self._client: Any = redis.asyncio.Redis(connection_pool=pool)
        self._me = f"answers:{os.getpid()}"
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._number = 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        client: Any = redis.asyncio.Redis(port=self.port, socket_timeout=None)
        while True:
            batch = self.options["batch"]
            popped = await client.blmpop(0, 1, self._me, direction="RIGHT", count=batch)
            for raw in popped[1] if popped else ():
                number, payload = json.loads(raw)
                future = self._waiting.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(payload)

    async def call(self, payload: str) -> str:
        self._number += 1
        number = self._number
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._client.lpush("tasks", json.dumps([self._me, number, payload]))
        answer: str = await future
        return answer

    async def enqueue(self, payloads: Sequence[str]) -> None:
        for some in chunks(payloads):
            await self._client.lpush("tasks", *(json.dumps(["", 0, one]) for one in some))

    async def close(self) -> None:
        self._reading.cancel()
