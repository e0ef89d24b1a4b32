"""Service nodes written for fastapi-queue, their import line changed: `python nodes.py`.

../worker.py is what they look like in the native way.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import redis.asyncio

from pyclient.compat.fastapi_queue import QueueWorker

PRICES = {"tea": 3, "milk": 1}


def price(client: Any, mysql: Any, item: str, count: int) -> int:
    """A plain function: called in a thread, whatever its name."""
    return PRICES[item] * count


async def main() -> None:
    """One process of nodes; start as many as you like."""
    url = os.environ.get("PEAK_REDIS_URL", "redis://localhost")
    async with redis.asyncio.Redis.from_url(url) as client:
        limits = {"/price": 50}
        node = QueueWorker(
            client, threads=4, route_table_maximum_concurrency=limits, run_startup=True
        )
        node.method_register("/price", price)
        signal.signal(signal.SIGINT, node.graceful_shutdown)  # SIGTERM it handles by itself
        await node.run_serve()


if __name__ == "__main__":
    asyncio.run(main())
