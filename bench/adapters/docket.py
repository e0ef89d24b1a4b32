"""docket (pydocket). A result is waited for by a subscription, so a connection, per task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from docket import Docket, Worker

from bench.harness.contract import Base, tick


async def echo(payload: str) -> str:
    tick()
    return payload


class Adapter(Base):
    def docket(self) -> Any:
        docket = Docket(name="bench", url=self.wide_url, execution_ttl=timedelta(seconds=60))
        docket.register(echo)
        return docket

    def run_worker(self) -> None:
        async def serve() -> None:
            quarter = timedelta(seconds=0.25)
            async with (
                self.docket() as docket,
                Worker(
                    docket,
                    concurrency=self.worker_concurrency,
                    minimum_check_interval=quarter,
                    scheduling_resolution=quarter,
                ) as worker,
            ):
                await worker.run_forever()

        asyncio.run(serve())

    async def open(self, concurrency: int) -> None:
        self._docket = self.docket()
        await self._docket.__aenter__()

    async def call(self, payload: str) -> object:
        execution = await self._docket.add(echo)(payload)
        return await execution.get_result(timeout=timedelta(seconds=30))

    async def enqueue(self, payloads: Sequence[str]) -> None:
        await self._docket.add_many([self._docket.call(echo)(payload) for payload in payloads])

    async def close(self) -> None:
        await self._docket.__aexit__(None, None, None)
