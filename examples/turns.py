"""Any code, anywhere: `python turns.py`, in as many terminals as you like.

At most two of the blocks below run at one time in all of them together. Should this process
vanish, its turn is free again after a lease.
"""

from __future__ import annotations

import asyncio
import os

from pyclient import Queue, Refused

URL = os.environ.get("PEAK_REDIS_URL", "embedded://.peak")


async def report(queue: Queue, number: int, *, urgent: bool) -> None:
    """Ask the database for something expensive, when it is our turn."""
    try:
        async with queue.slot("database", level=1 if urgent else 5, timeout=30) as lease:
            await asyncio.sleep(0.1)
            print(f"report {number} after {lease.waited_ms} ms, fence {lease.fence}")
    except Refused as refusal:
        print(f"report {number} was refused, come back in {refusal.retry_after} s")


async def main() -> None:
    """Eight at once, the last one urgent."""
    async with Queue.from_url(URL, name="turns") as queue:
        await queue.configure(slots=2)
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(report(queue, number, urgent=number == 7))


if __name__ == "__main__":
    asyncio.run(main())
