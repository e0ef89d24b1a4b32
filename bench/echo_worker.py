"""The worker of the round-trip benchmark: ten routes that give back what they get.

python -m worker_app bench.echo_worker:worker -p 1 -c 64     (PEAK_REDIS_URL says where)
"""

from __future__ import annotations

from worker_app import Worker

ROUTES = [f"route-name-{digit}" for digit in range(10)]

worker = Worker("bench", concurrency=64)


async def echo(payload: object) -> object:
    """Nothing to do: what is measured is the way there and back."""
    return payload


for name in ROUTES:
    worker.route(name)(echo)
