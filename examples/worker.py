"""The workers: `python -m worker_app worker:worker -p 2`."""

from __future__ import annotations

from contract import FACTORS, FIBONACCI, URL, Number

from worker_app import Worker

worker = Worker(url=URL, concurrency=16)


@worker.route(FIBONACCI, timeout=5)
async def fibonacci(payload: Number) -> str:
    """Awaited on the event loop: quick, or waiting for others."""
    a, b = 0, 1
    for _ in range(payload["n"]):
        a, b = b, a + b
    return str(a)


@worker.route(FACTORS, concurrency=2, timeout=10)
def factors(payload: Number) -> list[int]:
    """A plain function runs in a thread. At most two at once, over all workers."""
    n, found, factor = payload["n"], [], 2
    while factor * factor <= n:
        while n % factor == 0:
            found.append(factor)
            n //= factor
        factor += 1
    return [*found, n] if n > 1 else found
