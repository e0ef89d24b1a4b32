"""The FastAPI side: lifespan, dependencies, errors as problem+json."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from pyclient import errors
from pyclient.fastapi import CurrentQueue, RateLimit, exception_handlers, lifespan
from pyclient.limiter import LocalRateLimiter, RateLimiter
from pyclient.queue import Queue
from tests.servers import Server

from .driver import lifespan as one_life

STATUSES = [
    (errors.RateLimited("m", retry_after=2.0), 429, "limited", "2"),
    (errors.QueueFull("m", retry_after=3.0), 503, "full", "some"),
    (errors.TooLate("m", retry_after=3.0), 503, "late", "some"),
    (errors.QueueClosed("m"), 503, "closed", "some"),
    (errors.Unavailable("m"), 503, "unavailable", "some"),
    (errors.StateLost("m"), 503, "state-lost", "some"),
    (errors.TaskCancelled("m", task_id="i"), 503, "cancelled", "some"),
    (errors.TaskExpired("m", task_id="i"), 504, "expired", None),
    (errors.TaskLost("m", task_id="i"), 502, "lost", None),
    (errors.TaskFailed("secret", task_id="i"), 500, "failed", None),
    (errors.TaskDead("secret", task_id="i"), 500, "dead", None),
    (errors.BadPayload("secret"), 500, "error", None),
    (errors.ConfigError("secret"), 500, "error", None),
    (errors.ScriptError("BADARG", "secret"), 500, "error", None),
]


@asynccontextmanager
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


@pytest.mark.parametrize(
    ("error", "status", "code", "retry"), STATUSES, ids=[type(s[0]).__name__ for s in STATUSES]
)
async def test_each_error_has_its_status(
    error: errors.PeakError, status: int, code: str, retry: str | None
) -> None:
    app = FastAPI(exception_handlers=exception_handlers)

    @app.get("/")
    async def root() -> None:
        raise error

    async with client(app) as http:
        answer = await http.get("/")
    said = answer.json()
    assert (answer.status_code, said["status"], said["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert said.get("task_id", "") == getattr(error, "task_id", "")
    given = answer.headers.get("retry-after")
    if retry == "some":
        assert given is not None
        assert int(given) >= 1
    else:
        assert given == retry


@pytest.mark.parametrize("handlers", [exception_handlers, None])
async def test_the_dependency_refuses_with_429_also_without_the_handlers(handlers: Any) -> None:
    limit = RateLimit(LocalRateLimiter(rate=0.5, burst=1), key=lambda request: request.url.query)
    app = FastAPI(exception_handlers=handlers)

    @app.get("/", dependencies=[Depends(limit)])
    async def root() -> str:
        return "in"

    async with client(app) as http:
        answers = [await http.get(f"/?{query}") for query in ("a", "a", "b")]
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert answers[1].headers["retry-after"] == "2"


async def test_a_key_may_be_found_asynchronously_and_redis_may_be_away(queue_name: str) -> None:
    async def key(request: Request) -> str:
        return request.url.path

    queue = Queue.from_url("redis://127.0.0.1:1", name=queue_name)
    limiter = RateLimiter(queue, "x", rate=1, burst=1)
    app = FastAPI(exception_handlers=exception_handlers)

    @app.get("/open", dependencies=[Depends(RateLimit(limiter, key=key))])
    async def open_() -> str:
        return "in"

    @app.get("/shut", dependencies=[Depends(RateLimit(limiter, key=key, fail_open=False))])
    async def shut() -> str:
        return "in"

    async with client(app) as http:
        assert (await http.get("/open")).status_code == 200
        assert (await http.get("/shut")).status_code == 503
    await queue.aclose()


async def test_the_lifespan_opens_the_queue_around_the_programs_own(
    server: Server, queue_name: str
) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[None]:
        seen.append("up" if queue.is_open else "too early")
        yield
        seen.append("down" if queue.is_open else "too late")

    queue = Queue.from_url(server.url, name=queue_name)
    said = await one_life(FastAPI(lifespan=lifespan(queue, inner)))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert seen == ["up", "down"]
    assert not queue.is_open


async def test_handlers_get_the_queue_as_a_dependency(server: Server, queue_name: str) -> None:
    run = lifespan(server.url)
    app = FastAPI()

    @app.get("/")
    async def root(queue: CurrentQueue) -> int:
        return int((await queue.gauge())["waiting"])

    async with run(app), client(app) as http:
        assert (await http.get("/")).json() == 0


async def test_without_redis_the_program_starts(queue_name: str) -> None:
    app = FastAPI()
    async with lifespan("redis://127.0.0.1:1")(app):
        assert isinstance(app.state.queue, Queue)


@pytest.mark.parametrize("module", ["pyclient", "pyclient.asgi"])
def test_importing_it_pulls_in_no_framework(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('fastapi', 'starlette') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
