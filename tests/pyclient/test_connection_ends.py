"""A connection that is closed, or whose caller is cancelled, while others use it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pyclient.connection import Connection
from pyclient.errors import Unavailable
from tests.pyclient.client_rig import until
from tests.pyclient.connection_rig import ECHO, connected
from tests.servers import Server


@pytest.mark.parametrize("turns", range(6))
async def test_closed_while_it_connects_who_waits_is_told_not_cancelled(
    server: Server, turns: int
) -> None:
    connection = Connection(server.url)
    opening = asyncio.create_task(connection.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    await connection.aclose()
    with contextlib.suppress(Unavailable):
        await opening
    await connection.aclose()


async def test_closed_while_a_cluster_is_looked_for_who_waits_is_told_not_cancelled() -> None:
    connection = Connection("redis+cluster://127.0.0.1:1", patience=60)
    opening = asyncio.create_task(connection.open())

    def asking() -> bool:
        wires = connection._wires
        return wires is not None and getattr(wires.topology, "_refresh", None) is not None

    await until(asking)
    await connection.aclose()
    with pytest.raises(Unavailable):
        await opening


async def test_opened_again_before_it_has_closed_it_is_open(server: Server) -> None:
    async with connected(server.url) as connection:
        closing = asyncio.create_task(connection.aclose())
        await asyncio.sleep(0)
        assert not closing.done()
        await connection.open()
        await closing
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]


async def test_who_is_cancelled_while_it_opens_once_more_closes_nothing(server: Server) -> None:
    async with connected(server.url) as connection:
        assert connection._wires is not None
        connection._wires.drop_all("a test")
        again = asyncio.create_task(connection.open())
        await asyncio.sleep(0)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        assert again.cancelled()
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
