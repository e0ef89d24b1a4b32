"""429 before the app sees the request."""

from __future__ import annotations

import json

from pyclient import LocalRateLimiter, Queue, RateLimiter
from pyclient.asgi import RateLimitMiddleware
from tests.servers import Server

from .driver import Exchange, Site


def open_site() -> Site:
    site = Site()
    site.go_on.set()
    return site


async def test_an_empty_bucket_is_429_with_an_exact_retry_after() -> None:
    site = open_site()
    app = RateLimitMiddleware(site, limiter=LocalRateLimiter(rate=0.1, burst=2))
    statuses = [(await Exchange(app).run()).status for _ in range(2)]
    refused = await Exchange(app).run()
    assert statuses == [200, 200]
    assert refused.status == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "10"
    assert json.loads(refused.content)["code"] == "limited"
    assert site.served == 2


async def test_clients_have_buckets_of_their_own() -> None:
    app = RateLimitMiddleware(open_site(), limiter=LocalRateLimiter(rate=0.1, burst=1))
    clients = [("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.1", 2), None]
    statuses = [(await Exchange(app, client=client).run()).status for client in clients]
    assert statuses == [200, 200, 429, 200]


async def test_a_key_and_a_cost_may_be_given() -> None:
    limiter = LocalRateLimiter(rate=0.1, burst=5)
    app = RateLimitMiddleware(open_site(), limiter=limiter, key=lambda scope: scope["path"], cost=3)
    statuses = [(await Exchange(app, path).run()).status for path in ("/a", "/a", "/b")]
    assert statuses == [200, 429, 200]


async def test_a_cost_above_the_burst_has_no_retry_after() -> None:
    limiter = LocalRateLimiter(rate=1, burst=2)
    refused = await Exchange(RateLimitMiddleware(open_site(), limiter=limiter, cost=3)).run()
    assert refused.status == 429
    assert "retry-after" not in refused.headers


async def test_paths_passed_through_take_nothing() -> None:
    limiter = LocalRateLimiter(rate=0.1, burst=1)
    app = RateLimitMiddleware(open_site(), limiter=limiter, pass_through=("/quick",))
    statuses = [(await Exchange(app, path).run()).status for path in ("/quick", "/quick", "/")]
    assert statuses == [200, 200, 200]


async def test_a_limit_in_redis_holds_for_all_processes(server: Server, queue_name: str) -> None:
    statuses = []
    for _ in range(3):
        async with Queue.from_url(server.url, name=queue_name) as queue:
            limiter = RateLimiter(queue, "site", rate=0.1, burst=2)
            exchange = await Exchange(RateLimitMiddleware(open_site(), limiter=limiter)).run()
            statuses.append(exchange.status)
    assert statuses == [200, 200, 429]


async def test_without_redis_requests_pass_unless_told_otherwise(queue_name: str) -> None:
    queue = Queue.from_url("redis://127.0.0.1:1", name=queue_name)
    limiter = RateLimiter(queue, "site", rate=1, burst=1)
    open_app = RateLimitMiddleware(open_site(), limiter=limiter)
    shut_app = RateLimitMiddleware(open_site(), limiter=limiter, fail_open=False)
    assert (await Exchange(open_app).run()).status == 200
    assert (await Exchange(shut_app).run()).status == 503
    await queue.aclose()


async def test_a_websocket_over_the_limit_is_closed() -> None:
    app = RateLimitMiddleware(open_site(), limiter=LocalRateLimiter(rate=1, burst=1), cost=2)
    socket = await Exchange(app, kind="websocket").run()
    assert [message["type"] for message in socket.sent] == ["websocket.close"]
