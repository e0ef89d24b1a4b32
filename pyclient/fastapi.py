"""The line in a FastAPI program: lifespan, dependencies, and errors as problem+json.

    queue = Queue.from_url("redis://localhost")
    app = FastAPI(lifespan=lifespan(queue), exception_handlers=exception_handlers)
    limit = RateLimit(RateLimiter(queue, "search", rate=5, burst=10))

    @app.get("/search", dependencies=[Depends(limit)])
    async def search(q: str, queue: CurrentQueue) -> dict[str, object]:
        return await queue.call("search", {"q": q}, timeout=5)

The only module of pyclient that imports FastAPI.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from .asgi import client_host, take
from .errors import PeakError, RateLimited, Unavailable
from .limiter import LocalRateLimiter, RateLimiter
from .problem import problem_of
from .queue import Queue

log = logging.getLogger("pyclient.fastapi")

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


class _Limited(RateLimited, HTTPException):
    """RateLimited that is a 429 also where `exception_handlers` are not installed."""

    def __init__(self, error: RateLimited) -> None:
        RateLimited.__init__(self, str(error), retry_after=error.retry_after)
        problem = problem_of(error)
        self.status_code, self.detail = problem.status, problem.title
        self.headers = {
            name: problem.headers[name] for name in problem.headers.keys() & {"retry-after"}
        }


class RateLimit:
    """A dependency that refuses with 429 and Retry-After: `Depends(RateLimit(limiter))`.

    `key` is a function of the request (async, or not), the client's address by default: behind a
    proxy take what the proxy vouches for, an API key, a tenant. With `fail_open` requests pass
    while Redis can't be asked, else they get 503.
    """

    def __init__(
        self,
        limiter: RateLimiter | LocalRateLimiter,
        *,
        key: Callable[[Request], str | Awaitable[str]] | None = None,
        cost: int = 1,
        fail_open: bool = True,
    ) -> None:
        self._limiter = limiter
        self._key = key
        self._cost = cost
        self._fail_open = fail_open

    async def __call__(self, request: Request) -> None:
        """Take from the bucket of the request's key."""
        key = client_host(request.scope) if self._key is None else self._key(request)
        if not isinstance(key, str):
            key = await key
        try:
            await take(self._limiter, key, self._cost)
        except RateLimited as error:
            raise _Limited(error) from None
        except Unavailable as error:
            if not self._fail_open:
                raise
            log.warning("can't ask for the rate limit: %s", error)


def lifespan(queue: Queue | str, inner: Lifespan | None = None) -> Lifespan:
    """A lifespan that opens and closes `queue` (or one of that address), around `inner`.

    The queue is `app.state.queue`, and in handlers the dependency `CurrentQueue`. Without Redis
    the program starts all the same; calls raise Unavailable until it is back.
    """
    shared = Queue.from_url(queue) if isinstance(queue, str) else queue

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(shared.aclose)
            try:
                await shared.open()
            except Unavailable as error:
                log.warning("started without Redis: %s", error)
            app.state.queue = shared
            yield await stack.enter_async_context(inner(app)) if inner is not None else None

    return run


def current_queue(request: Request) -> Queue:
    """The queue of `lifespan`."""
    queue: Queue = request.app.state.queue
    return queue


CurrentQueue = Annotated[Queue, Depends(current_queue)]
"""The queue of `lifespan`, as a dependency."""


async def answer_error(request: Request, error: Exception) -> Response:
    """The problem+json of an error of the line; what failed inside is in the log, not in it."""
    if not isinstance(error, PeakError):
        raise error
    problem = problem_of(error)
    if problem.status in (500, 502):
        log.error("%s %s: %s", request.method, request.url.path, error)
    return Response(problem.body, problem.status, problem.headers)


def json_answer(status: int, content: object) -> Response:
    """A plain JSON answer, for what must not import FastAPI itself."""
    return JSONResponse(content, status)


exception_handlers: dict[
    int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]
] = {PeakError: answer_error}
"""For `FastAPI(exception_handlers=exception_handlers)`: 429 and 503 with Retry-After, 504 out of
time, 502 worker lost, 500 handler failed."""

__all__ = [
    "CurrentQueue",
    "RateLimit",
    "answer_error",
    "current_queue",
    "exception_handlers",
    "json_answer",
    "lifespan",
]
