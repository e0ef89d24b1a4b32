"""An application with the line inside: its route has a worker function do the work."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from pyclient import Queue

queue = Queue.from_url(os.environ["PEAK_REDIS_URL"], name="embedded")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The queue lives as long as the application."""
    async with queue:
        yield


app = FastAPI(openapi_url=None, lifespan=lifespan)


@app.get("/")
async def root() -> dict[str, object]:
    """As fastapi-queue's own example answers."""
    return {"status": 200, "data": await queue.call("root", {})}
