"""A rate limit before the app, pure ASGI: `uvicorn limited:app --port 8003`.

Two buckets: one in this process, so that a flood does not even reach Redis, and one that all
replicas share. The key is what the client shows, its address if it shows nothing.
"""

from __future__ import annotations

import os
from typing import Any

from pyclient import LocalRateLimiter, Queue, RateLimiter
from pyclient.asgi import RateLimitMiddleware, Scope, client_host

URL = os.environ.get("PEAK_REDIS_URL", "embedded://.peak")
queue = Queue.from_url(URL, name="limited")


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    """The app."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello\n"})


def key(scope: Scope) -> str:
    """Who pays for a request."""
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return "key " + str(value, "latin-1")
    return "host " + client_host(scope)


shared = RateLimitMiddleware(hello, limiter=RateLimiter(queue, "hello", rate=5, burst=10), key=key)
app = RateLimitMiddleware(shared, limiter=LocalRateLimiter(rate=100, burst=200), key=client_host)
