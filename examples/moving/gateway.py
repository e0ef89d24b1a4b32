"""A gateway written for fastapi-queue, its import line changed: `uvicorn gateway:app --port 8004`.

../web.py is what it looks like in the native way.
"""

from __future__ import annotations

import os
from typing import Any

import redis.asyncio
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from pyclient.compat.fastapi_queue import DistributedTaskApplyManager, RateLimiter

app = FastAPI()
client = redis.asyncio.Redis.from_url(os.environ.get("PEAK_REDIS_URL", "redis://localhost"))


@app.get("/price")
@RateLimiter(bucket=100, limits_s=20)
async def price(request: Request, item: str, count: int = 1) -> Any:
    """Have a node work it out."""
    async with DistributedTaskApplyManager(client, request.url.path) as manager:
        if not manager.success():
            return JSONResponse("Service Temporarily Unavailable", 503)
        form = {"item": item, "count": count}
        done, result = await manager.rclt(form_data=form, task_level=0)
    if done:
        return {"price": result}
    return JSONResponse(str(result), 503 if result == -1 else 500)
