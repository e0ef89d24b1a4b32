"""A gateway as programs of fastapi-queue have it; only the imports are ours."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as aioredis
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.compat.seed import DistributedTaskApplyManager, RateLimiter


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    RateLimiter().porter_run_serve()
    yield
    await redis.aclose()


app = FastAPI(lifespan=lifespan)
redis = aioredis.Redis.from_url(os.environ["PROGRAM_REDIS"])


def reply(done: bool, result: Any) -> Any:  # noqa: FBT001
    if done:
        return {"status": 200, "data": result}
    if result == -1:
        return JSONResponse("Service Temporarily Unavailable", 503)
    return JSONResponse("Internal Server Error", 500)


async def handle(request: Request, form: dict[str, Any]) -> Any:
    async with DistributedTaskApplyManager(
        redis=redis,
        request_path=request.url.path,
    ) as manager:
        if not manager.success():
            return JSONResponse("Service Temporarily Unavailable", 503)
        done, result = await manager.rclt(form_data=form, task_level=0)
    return reply(done, result)


@app.get("/")
async def root(request: Request) -> Any:
    return await handle(request, {})


@app.get("/digits")
async def digits(request: Request, x: int) -> Any:
    return await handle(request, {"x": x})


@app.get("/triangle")
@RateLimiter(bucket=5000, limits_s=1000)
async def triangle(request: Request, n: int) -> Any:
    return await handle(request, {"n": n})


@app.get("/slow")
async def slow(request: Request, seconds: float, name: str) -> Any:
    return await handle(request, {"seconds": seconds, "name": name})


@app.post("/slow")
async def post_slow(request: Request, seconds: float, name: str) -> Any:
    answer = await handle(request, {"seconds": seconds, "name": name})
    return {"answer": answer, "sent": len(await request.body())}


@app.get("/unknown")
async def unknown(request: Request) -> Any:
    return await handle(request, {})
