"""fastapi-queue's worker: one process, as many loops as BENCH_CONCURRENCY says."""

from __future__ import annotations

import asyncio
import os

import aioredis
from fastapi_queue import QueueWorker

from bench.adapters.fastapi_queue import NO_LIMIT, Silent


async def async_root(*_: object) -> str:
    """The work."""
    return "Hello world."


async def main() -> None:
    """Serve until killed."""
    worker = QueueWorker(
        aioredis.Redis.from_url(os.environ["PEAK_REDIS_URL"]),
        threads=int(os.environ["BENCH_CONCURRENCY"]),
        route_table_maximum_concurrency={"/": NO_LIMIT},
        allowed_type_limit=None,
        run_startup=True,
        logger=Silent(),
    )
    worker.method_register("/", async_root)
    await worker.run_serve()


asyncio.run(main())
