"""Streaming through the upstream client: both ways, with backpressure, and upgrades."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from pyclient.http.client import HttpClient
from pyclient.http.envelope import Request
from pyclient.http.errors import UpstreamBroke, UpstreamTimeout

from .rawserver import Peer, answer, serve
from .test_client import client, get, says

UPLOAD = Request(b"POST", b"/up", b"", True, True, b"", b"")


async def parts(*chunks: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(pause)
        yield chunk


async def test_the_head_is_there_before_the_body_and_chunks_come_as_they_are_sent() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            await go.wait()
            go.clear()
            await peer.say(b"1\r\n%d\r\n" % number)
        await peer.say(b"0\r\n\r\n")
        await peer.gone()

    async with serve(script) as server, client() as http:
        stream = await http.open(server.target, get(), timeout=5)
        assert stream.status == 200
        found = []
        for _ in range(3):
            go.set()
            found.append(await stream.read())
        assert found == [b"0", b"1", b"2"]
        assert await stream.read() == b""
        await stream.aclose()


async def test_a_stream_read_to_its_end_leaves_the_connection_to_the_next() -> None:
    async with serve(says(answer(b"abc"))) as server, client() as http:
        for _ in range(3):
            stream = await http.open(server.target, get(), timeout=5)
            assert b"".join([chunk async for chunk in stream]) == b"abc"
            await stream.aclose()
        assert server.connections == 1


async def test_an_answer_that_nobody_reads_stops_the_target() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            await peer.say(b"x" * 100_000)
            sent += 100_000

    async with serve(script) as server, client() as http:
        stream = await http.open(server.target, get(), timeout=20)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 20_000_000  # what socket buffers and our 256 KiB hold
        total = 0
        async for chunk in stream:
            total += len(chunk)
        assert total == 100_000_000
        await stream.aclose()


async def test_leaving_a_stream_early_tells_the_target() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await peer.gone()
        gone.set()

    async with serve(script) as server, client() as http:
        stream = await http.open(server.target, get(), timeout=5)
        await stream.aclose()
        await asyncio.wait_for(gone.wait(), 2)


async def test_a_stream_that_breaks_off_is_an_error_after_what_came() -> None:
    async with (
        serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", close=True)) as server,
        client() as http,
    ):
        stream = await http.open(server.target, get(), timeout=5)
        assert await stream.read() == b"abc"
        with pytest.raises(UpstreamBroke):
            await stream.read()
        await stream.aclose()


async def test_a_stream_that_lasts_too_long_is_a_timeout() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await peer.gone()

    async with serve(script) as server, client() as http:
        stream = await http.open(server.target, get(), timeout=0.2)
        assert await stream.read() == b"abc"
        with pytest.raises(UpstreamTimeout):
            await stream.read()
        await stream.aclose()


async def test_a_body_is_sent_while_it_comes() -> None:
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        got.append(await peer.reader.readuntil(b"0\r\n\r\n"))
        await peer.say(answer(b"ok"))
        await peer.head()
        got.append(await peer.body(6))
        await peer.say(answer(b"ok"))
        await peer.gone()

    async with serve(script) as server, client() as http:
        for length in (None, 6):
            body = parts(b"abc", b"", b"def", pause=0.01)
            stream = await http.open(server.target, UPLOAD, timeout=5, body=body, length=length)
            assert await stream.read() == b"ok"
            await stream.aclose()
        assert server.connections == 1
    assert got == [b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", b"abcdef"]
    assert b"transfer-encoding: chunked\r\n" in server.heads[0]
    assert b"content-length: 6\r\n" in server.heads[1]
    assert b"transfer-encoding" not in server.heads[1]


@pytest.mark.parametrize("length", [2, 9])
async def test_a_body_that_is_not_as_long_as_announced_breaks_the_connection(length: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.gone()

    async with serve(script) as server, client() as http:
        with pytest.raises(UpstreamBroke, match="body"):
            await http.open(
                server.target, UPLOAD, timeout=5, body=parts(b"abc", b"def"), length=length
            )


async def test_a_slow_target_slows_the_body_down() -> None:
    produced = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 100_000
            yield b"x" * 100_000

    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(30)

    async with serve(script) as server, client() as http:
        task = asyncio.create_task(http.open(server.target, UPLOAD, timeout=20, body=endless()))
        before = -1
        while before != produced:
            before = produced
            await asyncio.sleep(0.1)
        assert produced < 20_000_000
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_an_answer_before_the_body_has_ended_is_passed_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(answer(b"too large", status=b"413 Payload Too Large"))
        await peer.gone()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b"x"

    async with serve(script) as server, client() as http:
        stream = await http.open(server.target, UPLOAD, timeout=5, body=endless())
        assert (stream.status, await stream.read()) == (413, b"too large")
        await stream.aclose()
        again = await http.open(server.target, get(), timeout=5)
        assert again.status == 413
        await again.aclose()
        assert server.connections == 2


async def test_an_upgraded_connection_is_a_tunnel() -> None:
    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert b"connection: upgrade\r\n" in head
        await peer.say(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhi"
        )
        while data := await peer.reader.read(100):
            await peer.say(data)

    async with serve(script) as server, client() as http:
        request = get(head=b"upgrade: echo\r\n")
        stream = await http.open(server.target, request, timeout=5, may_upgrade=True)
        assert stream.upgraded
        assert await stream.read() == b"hi"
        await stream.write(b"HTTP/1.1 is over\r\n\r\n")
        assert await stream.read() == b"HTTP/1.1 is over\r\n\r\n"
        await stream.aclose()


async def test_an_upgrade_that_the_target_declines_is_an_answer() -> None:
    script = says(answer(b"no", status=b"426 Upgrade Required"))
    async with serve(script) as server, client() as http:
        stream = await http.open(server.target, get(), timeout=5, may_upgrade=True)
        assert (stream.status, await stream.read()) == (426, b"no")
        await stream.aclose()


async def test_a_target_that_never_answers_is_a_timeout_before_the_head() -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async with serve(script) as server:
        http = HttpClient()
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout):
            await http.open(server.target, get(), timeout=0.2)
        assert time.monotonic() - began < 1
        await http.aclose()
