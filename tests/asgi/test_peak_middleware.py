"""A whole ASGI app behind the line."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pyclient import ConfigError, Queue, TaskFailed
from pyclient.asgi import PeakMiddleware
from tests.servers import Server

from .driver import Exchange, Site, behind, lifespan, until, until_waiting


async def test_at_most_limit_requests_are_inside_at_once(server: Server, queue_name: str) -> None:
    site = Site()
    site.go_on.set()
    async with behind(server, queue_name, site, limit=3) as app:
        exchanges = await asyncio.gather(*[Exchange(app).run() for _ in range(40)])
    assert [e.status for e in exchanges] == [200] * 40
    assert site.most <= 3


async def test_two_replicas_share_one_limit(server: Server, queue_name: str) -> None:
    site = Site()
    site.go_on.set()
    async with (
        behind(server, queue_name, site, limit=2) as one,
        behind(server, queue_name, site, limit=2) as two,
    ):
        runs = [Exchange(app).run() for app in (one, two) * 15]
        exchanges = await asyncio.gather(*runs)
    assert {e.status for e in exchanges} == {200}
    assert site.most <= 2


async def test_bodies_stream_untouched_in_both_directions(server: Server, queue_name: str) -> None:
    site = Site()
    parts = [b"a" * 50_000, b"", b"b" * 70_000, b"c"]
    async with behind(server, queue_name, site, limit=1) as app:
        first = asyncio.create_task(Exchange(app).run())
        await until(lambda: site.inside == 1)
        held = asyncio.create_task(Exchange(app, body=parts).run())
        await until_waiting(app, 1)
        await asyncio.sleep(0.05)  # long enough for the look-out to read ahead
        site.go_on.set()
        await first
        exchange = await held
    assert exchange.content == b"".join(parts)
    assert exchange.headers["x-app"] == "1"
    assert [m["type"] for m in exchange.sent].count("http.response.body") == 2


async def test_who_waited_is_told_how_long(server: Server, queue_name: str) -> None:
    site = Site()
    async with behind(server, queue_name, site, limit=1) as app:
        first = asyncio.create_task(Exchange(app).run())
        await until(lambda: site.inside == 1)
        second = asyncio.create_task(Exchange(app).run())
        await until_waiting(app, 1)
        await asyncio.sleep(0.1)
        site.go_on.set()
        await first
        timing = (await second).headers["server-timing"]
    assert timing.startswith("queue;dur=")
    assert float(timing.partition("dur=")[2]) >= 90


async def test_a_client_that_leaves_while_it_waits_leaves_the_line(
    server: Server, queue_name: str
) -> None:
    site = Site()
    async with behind(server, queue_name, site, limit=1) as app:
        first = asyncio.create_task(Exchange(app).run())
        await until(lambda: site.inside == 1)
        gone = Exchange(app, body=[b"x", b"y"])
        leaving = asyncio.create_task(gone.run())
        await until_waiting(app, 1)
        gone.leave()
        await asyncio.wait_for(leaving, 2)
        await until_waiting(app, 0)
        site.go_on.set()
        await first
    assert gone.sent == []
    assert site.served == 1


async def test_a_client_that_leaves_later_is_the_apps_business(
    server: Server, queue_name: str
) -> None:
    site = Site()
    async with behind(server, queue_name, site, limit=1) as app:
        exchange = Exchange(app, body=[b"x"])
        exchange._incoming = asyncio.Queue()
        running = asyncio.create_task(exchange.run())
        await until(lambda: site.inside == 1)
        exchange.leave()
        site.go_on.set()
        await asyncio.wait_for(running, 2)
    assert exchange.sent == []
    assert site.served == 1


async def test_a_full_line_refuses_at_once_with_retry_after(
    server: Server, queue_name: str
) -> None:
    site = Site()
    async with behind(server, queue_name, site, limit=1, capacity=1) as app:
        first = asyncio.create_task(Exchange(app).run())
        await until(lambda: site.inside == 1)
        second = asyncio.create_task(Exchange(app).run())
        await until_waiting(app, 1)
        refused = await asyncio.wait_for(Exchange(app).run(), 1)
        site.go_on.set()
        await asyncio.gather(first, second)
    assert refused.status == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1
    assert json.loads(refused.content)["code"] == "full"


async def test_no_turn_in_time_is_504(server: Server, queue_name: str) -> None:
    site = Site()
    async with behind(server, queue_name, site, limit=1, timeout=1.0) as app:
        first = asyncio.create_task(Exchange(app).run())
        await until(lambda: site.inside == 1)
        late = await Exchange(app).run()
        site.go_on.set()
        await first
    assert late.status == 504
    assert json.loads(late.content)["code"] == "expired"
    assert site.served == 1


async def test_a_closed_queue_refuses_with_503(server: Server, queue_name: str) -> None:
    async with behind(server, queue_name, Site(), limit=1) as app:
        await app.queue.close("maintenance")
        assert (await Exchange(app).run()).status == 503


async def test_paths_passed_through_never_queue(server: Server, queue_name: str) -> None:
    site = Site()
    async with behind(server, queue_name, site, limit=1, pass_through=("/quick",)) as app:
        first = asyncio.create_task(Exchange(app).run())
        await until(lambda: site.inside == 1)
        assert (await Exchange(app, "/quick").run()).status == 200
        site.go_on.set()
        await first


async def test_level_and_tenant_may_come_from_the_scope(server: Server, queue_name: str) -> None:
    site = Site()
    order: list[str] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        order.append(scope["path"])
        await site(scope, receive, send)

    level = {"/low": 8, "/high": 1}
    options = {"level": lambda s: level.get(s["path"], 3), "tenant": lambda s: "t"}
    async with behind(server, queue_name, noting, limit=1, **options) as app:
        runs = [asyncio.create_task(Exchange(app, "/first").run())]
        await until(lambda: site.inside == 1)
        for number, path in enumerate(("/low", "/high"), 1):
            runs.append(asyncio.create_task(Exchange(app, path).run()))
            await until_waiting(app, number)
        site.go_on.set()
        await asyncio.gather(*runs)
    assert order == ["/first", "/high", "/low"]


async def test_errors_of_the_app_are_its_own_and_give_the_slot_back(
    server: Server, queue_name: str
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise TaskFailed("one of its own calls")

    async with behind(server, queue_name, broken, limit=1) as app:
        for _ in range(3):
            with pytest.raises(TaskFailed):
                await asyncio.wait_for(Exchange(app).run(), 1)


async def test_a_wrong_level_is_an_error_of_the_program(server: Server, queue_name: str) -> None:
    async with behind(server, queue_name, Site(), level=12) as app:
        with pytest.raises(ConfigError, match="level 12"):
            await Exchange(app).run()


async def test_a_lost_lease_stops_the_request_and_says_so(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as operator:
        await operator.configure(lease=0.5, slots=1)
        site = Site()
        async with behind(server, queue_name, site) as app:
            running = asyncio.create_task(Exchange(app).run())
            await until(lambda: site.inside == 1)
            assert app.queue._engine.slots is not None
            held = list(app.queue._engine.slots.held)
            await (await operator._engine.commands("hold")).cancel("operator", 0, "cancelled", held)
            exchange = await asyncio.wait_for(running, 2)
    assert exchange.status == 502
    assert json.loads(exchange.content) == {
        "type": "about:blank",
        "title": "The worker that held the request vanished",
        "status": 502,
        "code": "lost",
        "task_id": held[0],
    }
    assert site.inside == 0


async def test_the_lifespan_opens_and_closes_the_queue(server: Server, queue_name: str) -> None:
    site = Site()
    app = PeakMiddleware(site, queue=Queue.from_url(server.url, name=queue_name), limit=2)
    said = await lifespan(app)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert site.lives == ["lifespan.startup", "lifespan.shutdown"]
    assert not app.queue.is_open
    async with Queue.from_url(server.url, name=queue_name) as queue:
        assert (await (await queue._engine.commands("hold")).gauge())["limit"] == 2


async def test_without_redis_the_app_starts_and_requests_get_503(queue_name: str) -> None:
    queue = Queue.from_url("redis://127.0.0.1:1", name=queue_name)
    app = PeakMiddleware(Site(), queue=queue, limit=2)
    assert "lifespan.startup.complete" in await lifespan(app)
    refused = await asyncio.wait_for(Exchange(app).run(), 3)
    await app.aclose()
    assert refused.status == 503
    assert json.loads(refused.content)["code"] == "unavailable"


async def test_without_redis_many_requests_are_refused_together(queue_name: str) -> None:
    queue = Queue.from_url("redis://127.0.0.1:1", name=queue_name)
    app = PeakMiddleware(Site(), queue=queue, limit=2)
    runs = [Exchange(app).run() for _ in range(30)]
    exchanges = await asyncio.wait_for(asyncio.gather(*runs), 4)
    await app.aclose()
    assert {exchange.status for exchange in exchanges} == {503}


@pytest.mark.parametrize("turns", range(4))
async def test_closed_while_it_opens_a_request_is_refused(turns: int) -> None:
    app = PeakMiddleware(Site(), queue="redis://127.0.0.1:1", limit=1)
    request = asyncio.create_task(Exchange(app).run())
    for _ in range(turns):
        await asyncio.sleep(0)
    await app.aclose()
    assert (await request).status == 503
