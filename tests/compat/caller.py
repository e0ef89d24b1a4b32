"""A gateway as a process that makes some calls at once: `python -m tests.compat.caller JSON`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import redis.asyncio

from .seed import DistributedTaskApplyManager


async def main(spec: dict[str, Any]) -> None:
    """Say how many are inside, wait for the answers, say them."""
    client = redis.asyncio.Redis.from_url(spec["url"])
    inside = 0

    async def call(number: int) -> None:
        nonlocal inside
        async with DistributedTaskApplyManager(client, spec["path"]) as manager:
            if manager.success():
                inside += 1
                print("inside", inside, flush=True)
            form = {"seconds": spec["seconds"], "name": f"c{number}"}
            print("answer", await manager.rclt(form), flush=True)
            await asyncio.sleep(spec.get("stay", 60))

    await asyncio.gather(*[call(number) for number in range(spec["calls"])])


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
