"""A whole ASGI app behind the line: `uvicorn middleware:app --port 8002`.

However many replicas of it run, at most two requests are inside at once, those of `/urgent`
first; the others wait for their turn, or are told to come back.
"""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI

from pyclient import Queue
from pyclient.asgi import PeakMiddleware, Scope

URL = os.environ.get("PEAK_REDIS_URL", "embedded://.peak")
inner = FastAPI()


@inner.get("/urgent")
@inner.get("/usual")
async def work() -> dict[str, str]:
    """Something that bears no more than two at once."""
    await asyncio.sleep(0.1)
    return {"done": "yes"}


@inner.get("/health")
async def health() -> dict[str, str]:
    """Asked by the load balancer; never in the line."""
    return {"status": "ok"}


def level(scope: Scope) -> int:
    """0 is the most urgent, 9 the least."""
    return 1 if scope["path"] == "/urgent" else 5


app = PeakMiddleware(
    inner,
    queue=Queue.from_url(URL, name="middleware"),
    limit=2,
    capacity=1000,
    level=level,
    pass_through={"/health"},
)
