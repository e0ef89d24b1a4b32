"""A whole ASGI app behind the line, by one line; pure ASGI, for any framework and server.

    app = PeakMiddleware(app, queue="redis://localhost", limit=20)
    app.add_middleware(PeakMiddleware, queue=queue, limit=20)      # Starlette, FastAPI

Each request waits for its turn (hold mode: it stays where it is, only its place in line is in
Redis), at most `limit` run at once over all replicas, and bodies stream untouched in both
directions. A client that goes away while it waits leaves the line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from ._asgi_watch import Watch
from .entry import closed
from .errors import PeakError, RateLimited, Refused, StateLost, TaskError, TaskLost, Unavailable
from .joint import outcome_of
from .limiter import LocalRateLimiter, RateLimiter
from .problem import Problem, problem_of
from .queue import Queue
from .slot import Lease, Slot

log = logging.getLogger("pyclient.asgi")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What a client is told; any other error is a bug or a wrong setting, and the server's to answer.
_TOLD = (Refused, TaskError, Unavailable, StateLost)


class PeakMiddleware:
    """Runs each request of `app` inside `queue.slot`.

    `queue` is a Queue or an address. `limit`: requests at once, over all replicas (configured
    when the queue is opened; None leaves it as it is); `capacity`: requests that may wait.
    `level`, `tenant` and `route` are values, or functions of the scope. `timeout` bounds the
    wait. Paths in `pass_through` never queue: health checks belong there.

    Refusals are problem+json with Retry-After; a WebSocket that gets no turn is closed before
    it is accepted, one that gets it holds its slot until it ends. The queue is opened and closed
    with the app's lifespan, or opened by the first request. Redis being away does not keep the
    app from starting: requests get 503 until it is back.
    """

    def __init__(
        self,
        app: App,
        *,
        queue: Queue | str = "embedded://",
        limit: int | None = None,
        capacity: int | None = None,
        level: int | Callable[[Scope], int] = 3,
        tenant: str | Callable[[Scope], str] = "",
        route: str | Callable[[Scope], str] = "",
        timeout: float = 30.0,
        pass_through: Collection[str] = (),
    ) -> None:
        self.app = app
        self.queue = Queue.from_url(queue) if isinstance(queue, str) else queue
        self._limit, self._capacity = limit, capacity
        self._level, self._tenant, self._route = level, tenant, route
        self._timeout = timeout
        self._pass_through = frozenset(pass_through)
        self._configured = False
        self._opening: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] not in ("http", "websocket") or _path(scope) in self._pass_through:
            await self.app(scope, receive, send)
        else:
            await self._in_line(scope, receive, send)

    async def open(self) -> None:
        """Open the queue and set its limits; once. Raises Unavailable, ConfigError.

        All that ask meanwhile share one attempt: each on its own would wait for those before it.
        """
        if self._configured:
            return
        opening = self._opening
        if opening is None or opening.done():
            opening = self._opening = asyncio.get_running_loop().create_task(self._open())
            opening.add_done_callback(_seen)
        await outcome_of(opening, closed)

    async def aclose(self) -> None:
        """Close the queue; requests open it again."""
        self._configured = False
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self.queue.aclose()

    async def _open(self) -> None:
        await self.queue.open()
        await self.queue.configure(slots=self._limit, capacity=self._capacity)
        self._configured = True

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_opening() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.open()
                except Unavailable as error:
                    log.warning("started without Redis, requests get 503: %s", error)
            return message

        try:
            await self.app(scope, receive_opening, send)
        finally:
            await self.aclose()

    async def _in_line(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch, answer = Watch(receive), _Answer(send)
        try:
            async with contextlib.AsyncExitStack() as stack:
                turn = stack.enter_async_context(await self._slot(scope))
                answer.lease = await watch.wait(turn)
                if answer.lease is not None:
                    await self.app(scope, watch.receive, answer.send)
        except _TOLD as error:
            # What the app raises is the app's business, what the line raises is ours.
            lost = isinstance(error, TaskLost) and error.task_id == getattr(answer.lease, "id", "")
            if answer.started or not (lost or answer.lease is None):
                raise
            log.info("no turn for %s %s: %s", scope.get("method", "WS"), scope["path"], error)
            await refuse(scope, send, problem_of(error))
        finally:
            await watch.aclose()

    async def _slot(self, scope: Scope) -> Slot:
        if not self._configured:
            await self.open()
        return self.queue.slot(
            _value(self._route, scope),
            level=_value(self._level, scope),
            tenant=_value(self._tenant, scope),
            timeout=self._timeout,
        )


class RateLimitMiddleware:
    """Answers 429 where the bucket of a request's key is empty, before the app sees it.

    `key` is a function of the scope, the client's address by default; behind a proxy take what
    the proxy vouches for. With `fail_open` requests pass while Redis can't be asked (a
    LocalRateLimiter always can), else they get 503. The limiter's queue is closed by whoever
    made it.
    """

    def __init__(
        self,
        app: App,
        *,
        limiter: RateLimiter | LocalRateLimiter,
        key: Callable[[Scope], str] | None = None,
        cost: int = 1,
        fail_open: bool = True,
        pass_through: Collection[str] = (),
    ) -> None:
        self.app = app
        self._limiter = limiter
        self._key = key or client_host
        self._cost = cost
        self._fail_open = fail_open
        self._pass_through = frozenset(pass_through)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] in ("http", "websocket") and _path(scope) not in self._pass_through:
            refused = await self._refusal(scope)
            if refused is not None:
                await refuse(scope, send, refused)
                return
        await self.app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Problem | None:
        try:
            await take(self._limiter, self._key(scope), self._cost)
        except Unavailable as error:
            log.warning("can't ask for the rate limit: %s", error)
            return None if self._fail_open else problem_of(error)
        except PeakError as error:
            return problem_of(error)
        return None


async def take(limiter: RateLimiter | LocalRateLimiter, key: str, cost: int = 1) -> None:
    """Take from either kind of limiter. Raises RateLimited, Unavailable."""
    verdict = limiter.take(key, cost=cost)
    if not isinstance(verdict, tuple):
        verdict = await verdict
    if not verdict.allowed:
        raise RateLimited(
            f"rate limited, {verdict.remaining} left", retry_after=verdict.retry_after
        )


def client_host(scope: Scope) -> str:
    """The address of the peer, `` where the server does not tell it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def refuse(scope: Scope, send: Send, problem: Problem) -> None:
    """Answer with a problem; a WebSocket gets it in place of its handshake, or is closed."""
    body = problem.body
    headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    headers.append((b"content-length", b"%d" % len(body)))
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", ()):
            await send({"type": "websocket.close", "code": 1013, "reason": problem.title})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


class _Answer:
    """The way out: notes that it began, and tells how long the turn took to come."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.lease: Lease | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if self.lease is not None and self.lease.waited_ms:
                timing = (b"server-timing", b"queue;dur=%d" % self.lease.waited_ms)
                message = {**message, "headers": [*message.get("headers", ()), timing]}
        elif message["type"].startswith("websocket."):
            self.started = True
        await self._send(message)


def _seen(attempt: asyncio.Task[None]) -> None:
    """Whoever asked may have left."""
    if not attempt.cancelled():
        attempt.exception()


def _value(given: Any, scope: Scope) -> Any:
    return given(scope) if callable(given) else given


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


__all__ = ["PeakMiddleware", "RateLimitMiddleware"]
