"""A service node as a process: `python -m tests.compat.node JSON`.

The JSON holds the address, `routes` (path to the name of a function), and the arguments of
QueueWorker. Like the program of the README it handles SIGINT itself, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from typing import Any

import redis
import redis.asyncio

from .functions import FUNCTIONS
from .seed import QueueWorker

node: QueueWorker | None = None


async def main(spec: dict[str, Any]) -> None:
    """Serve as the README does: again and again, until told to stop."""
    global node
    while True:
        if "cluster" in spec["url"]:
            client: Any = spec["url"]
        elif spec.get("sync_client"):
            client = redis.Redis.from_url(spec["url"])
        else:
            client = redis.asyncio.Redis.from_url(
                spec["url"], decode_responses=spec.get("decode", False)
            )
        node = QueueWorker(client, **spec.get("options", {}))
        for path, name in spec["routes"].items():
            node.method_register(path, FUNCTIONS[name])
        await node.run_serve()
        if node.closeing():
            break
    if hasattr(client, "aclose"):
        await client.aclose()
    print("over", file=sys.stderr, flush=True)


def interrupted(number: int, frame: Any) -> None:
    """The README's handler."""
    if node is None:
        sys.exit(1)
    node.graceful_shutdown(number, frame)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGINT, interrupted)
    asyncio.run(main(json.loads(sys.argv[1])))
