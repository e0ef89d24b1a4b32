"""fastapi-queue's gateway as its own documentation has it, for the route `/`."""

from __future__ import annotations

import os
from typing import Any

import aioredis
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi_queue import DistributedTaskApplyManager

app = FastAPI(openapi_url=None)
redis = aioredis.Redis.from_url(os.environ["PEAK_REDIS_URL"])


@app.get("/")
async def root(request: Request) -> Any:
    """Have a worker answer."""
    path = request.url.path
    async with DistributedTaskApplyManager(redis=redis, request_path=path) as manager:
        if not manager.success():
            return JSONResponse(status_code=503, content="Service Temporarily Unavailable")
        done, result = await manager.rclt(form_data={}, task_level=0)
    if done:
        return {"status": 200, "data": result}
    return JSONResponse(status_code=503 if result == -1 else 500, content="not answered")
