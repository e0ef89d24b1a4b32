"""WebSockets behind the line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.servers import Server

from .driver import Exchange, Site, behind, until, until_waiting


async def test_a_websocket_waits_and_then_talks(server: Server, queue_name: str) -> None:
    site = Site()
    async with behind(server, queue_name, site, limit=1) as app:
        first = asyncio.create_task(Exchange(app).run())
        await until(lambda: site.inside == 1)
        socket = Exchange(app, kind="websocket")
        talking = asyncio.create_task(socket.run())
        await until_waiting(app, 1)
        await asyncio.sleep(0.03)
        socket.say({"type": "websocket.receive", "text": "hello"})
        site.go_on.set()
        await first
        await asyncio.wait_for(talking, 2)
    assert [m["type"] for m in socket.sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]


@pytest.mark.parametrize("offered", [{"websocket.http.response": {}}, {}])
async def test_a_websocket_without_a_turn_is_refused_before_it_is_accepted(
    server: Server, queue_name: str, offered: dict[str, Any]
) -> None:
    async with behind(server, queue_name, Site(), limit=1) as app:
        await app.queue.close()
        socket = await Exchange(app, kind="websocket", extensions=offered).run()
    if offered:
        assert socket.status == 503
        assert socket.sent[0]["type"] == "websocket.http.response.start"
    else:
        assert socket.sent == [
            {"type": "websocket.close", "code": 1013, "reason": "The line is closed"}
        ]
