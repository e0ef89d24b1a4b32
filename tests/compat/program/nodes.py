"""Four node processes by os.fork, as programs of fastapi-queue have them; only the imports are
ours. Each says its number, so that a test can find it."""

import asyncio
import logging
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

import redis.asyncio as aioredis

from tests.compat.functions import sleepy
from tests.compat.seed import QueueWorker

queueworker: QueueWorker | None = None


async def async_root(*args: Any) -> str:
    return "Hello."


def sync_digits(redis: Any, mysql: Any, x: int) -> int:
    time.sleep(0.01)
    return sum(int(digit) for digit in str(x))


async def async_triangle(redis: Any, mysql: Any, n: int) -> int:
    await asyncio.sleep(0.01)
    return sum(range(n + 1))


route_table: dict[str, Any] = {
    "/": async_root,
    "/digits": sync_digits,
    "/triangle": async_triangle,
    "/slow": sleepy,
}

route_table_maximum_concurrency = {
    "/": 9999,
    "/digits": 320,
    "/triangle": 1000,
    "/slow": int(os.environ.get("PROGRAM_SLOW", "20")),
}


async def main(pid: int, logger: logging.Logger) -> None:
    global queueworker

    first_time_run = True
    while True:
        run_startup, first_time_run = pid != 0 and first_time_run, False
        redis = aioredis.Redis.from_url(os.environ["PROGRAM_REDIS"])
        worker = QueueWorker(
            redis,
            threads=4,
            route_table_maximum_concurrency=route_table_maximum_concurrency,
            allowed_type_limit=None,
            run_startup=run_startup,
            logger=logger,
        )
        queueworker = worker
        for name, function in route_table.items():
            worker.method_register(name, function)
        await worker.run_serve()
        if worker.closeing():
            break
    await redis.aclose()
    logger.info(f"Pid: {worker.pid}, shutdown")


def sigint_capture(number: int, frame: FrameType | None) -> None:
    if queueworker:
        queueworker.graceful_shutdown(number, frame)
    else:
        sys.exit(1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGINT, sigint_capture)
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            break
    # One write: `print` makes two of it where output is unbuffered, and four processes do so now.
    os.write(1, f"node {os.getpid()}\n".encode())
    asyncio.run(main(pid, logging.getLogger("node")))
    if pid != 0:  # the test's parent waits for its children, so that none is left
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
