"""Exchanges that end without an answer: nobody there, too slow, cancelled, closed."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from pyclient.http.client import HttpClient
from pyclient.http.errors import UpstreamBroke, UpstreamConnectError, UpstreamTimeout
from pyclient.http.target import Target

from .rawserver import Peer, serve
from .test_client import ask, client, get


async def test_a_target_that_is_not_there_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = Target.parse(f"http://127.0.0.1:{taken.getsockname()[1]}")
        async with client() as http:
            began = time.monotonic()
            with pytest.raises(UpstreamConnectError):
                await http.request(target, get(), timeout=5, max_body=10)
            assert time.monotonic() - began < 1


async def test_a_name_that_does_not_resolve_is_a_connect_error() -> None:
    async with client() as http:
        with pytest.raises(UpstreamConnectError):
            await http.request(Target.parse("http://a..b"), get(), timeout=5, max_body=10)


async def test_a_silent_target_is_a_timeout_and_learns_that_nobody_waits() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.gone()
        gone.set()

    async with serve(script) as server, client() as http:
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout):
            await ask(http, server, timeout=0.2)
        assert 0.15 < time.monotonic() - began < 1
        await asyncio.wait_for(gone.wait(), 2)


async def test_a_target_that_drips_is_a_timeout_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await peer.say(b"x")
            await asyncio.sleep(0.01)

    async with serve(script) as server, client() as http:
        with pytest.raises(UpstreamTimeout):
            await ask(http, server, timeout=0.2)


async def test_cancelling_reaches_the_target() -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        came.set()
        await peer.gone()
        gone.set()

    async with serve(script) as server, client() as http:
        task = asyncio.create_task(ask(http, server))
        await asyncio.wait_for(came.wait(), 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 2)


async def test_closing_the_client_ends_what_waits() -> None:
    came = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        came.set()
        await peer.gone()

    async with serve(script) as server:
        http = HttpClient()
        task = asyncio.create_task(ask(http, server))
        await came.wait()
        await http.aclose()
        with pytest.raises(UpstreamBroke):
            await task
        with pytest.raises(UpstreamConnectError):
            await ask(http, server)
