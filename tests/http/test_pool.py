"""Kept connections: when one is used again, when not, and what a stale one costs."""

from __future__ import annotations

import asyncio
import time

import pytest

from pyclient.http.errors import UpstreamBroke, UpstreamConnectError

from .rawserver import Peer, answer, serve
from .test_client import ask, client, get, says


async def closes_when_asked_again(peer: Peer) -> None:
    """Answers once, then closes as soon as the next request comes: a keep-alive race."""
    await peer.head()
    await peer.say(answer(b"%d" % peer.number))
    if peer.number == 1:
        await peer.head()
        peer.reset()
        return
    await peer.gone()


async def test_a_safe_method_is_sent_again_when_a_kept_connection_was_closed() -> None:
    async with serve(closes_when_asked_again) as server, client() as http:
        assert (await ask(http, server)).body == b"1"
        assert (await ask(http, server)).body == b"2"
        assert len(server.heads) == 3


async def test_any_other_method_is_not_sent_again() -> None:
    async with serve(closes_when_asked_again) as server, client() as http:
        assert (await ask(http, server)).body == b"1"
        with pytest.raises(UpstreamBroke):
            await ask(http, server, get(method=b"POST", body=b"x"))
        assert len(server.heads) == 2


async def test_a_request_that_fails_on_a_new_connection_is_not_repeated() -> None:
    async with serve(says(b"", close=True)) as server, client() as http:
        with pytest.raises(UpstreamBroke):
            await ask(http, server)
        assert len(server.heads) == 1


async def test_a_post_does_not_go_out_on_a_connection_that_has_ended_meanwhile() -> None:
    async with serve(says(answer(b"x"), close=True)) as server, client() as http:
        await ask(http, server)
        blocked = time.monotonic() + 0.1
        while time.monotonic() < blocked:
            pass  # the loop does not see the end of the connection before it is asked to send
        assert (await ask(http, server, get(method=b"POST", body=b"x"))).status == 200
        assert server.connections == 2


async def test_a_connection_is_not_kept_longer_than_the_target_says() -> None:
    said = answer(b"x", b"Keep-Alive: timeout=1, max=5")
    async with serve(says(said)) as server, client() as http:
        await ask(http, server)
        await asyncio.sleep(0.05)
        await ask(http, server)
        assert server.connections == 2


async def test_the_number_of_connections_is_bounded() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.3)
        await peer.say(answer(b"x"))

    async with serve(script) as server, client(max_connections=2) as http:
        found = await asyncio.gather(*[ask(http, server) for _ in range(5)], return_exceptions=True)
        assert sum(isinstance(item, UpstreamConnectError) for item in found) == 3
