"""The upstream client against a target that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyclient.http.client import HttpClient
from pyclient.http.envelope import Request
from pyclient.http.errors import (
    ResponseTooLarge,
    UpstreamBroke,
    UpstreamError,
)
from pyclient.http.sinks import Response
from pyclient.http.target import Target

from .rawserver import Peer, RawServer, Script, answer, serve


def get(
    path: bytes = b"/a", *, method: bytes = b"GET", body: bytes = b"", head: bytes = b""
) -> Request:
    return Request(method, path, b"http://x", True, bool(body), head, body)


@contextlib.asynccontextmanager
async def client(**options: float) -> AsyncIterator[HttpClient]:
    made = HttpClient(**options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.aclose()


async def ask(
    http: HttpClient, server: RawServer, request: Request | None = None, **options: float
) -> Response:
    merged = {"timeout": 5.0, "max_body": 1_000_000} | options
    return await http.request(server.target, request or get(), **merged)  # type: ignore[arg-type]


def says(*parts: bytes, close: bool = False) -> Script:
    """A script that answers each request of a connection with the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.say(*parts)
            if close:
                return

    return script


async def test_the_request_goes_out_byte_for_byte_and_nothing_is_added() -> None:
    head = b"x-b: \xe9\xff\r\nx-b: two\r\nCookie: a=b\r\n"
    async with serve(says(answer(b""))) as server, client() as http:
        await ask(http, server, get(b"/a%2Fb?x=%26&&y", head=head))
        await ask(http, server, get(b"/?", method=b"PROPFIND"))
        authority = server.target.authority
    assert server.heads == [
        b"GET /a%2Fb?x=%26&&y HTTP/1.1\r\nhost: " + authority + b"\r\n" + head + b"\r\n",
        b"PROPFIND /? HTTP/1.1\r\nhost: " + authority + b"\r\n\r\n",
    ]


async def test_the_prefix_of_the_target_goes_before_the_path_and_host_can_be_the_clients() -> None:
    async with serve(says(answer(b""))) as server, client() as http:
        target = Target.parse(f"{server.target}/v1/")
        request = get(b"/a")._replace(add_host=False, head=b"host: shop.example\r\n")
        await http.request(target, request, timeout=5, max_body=10)
    assert server.heads == [b"GET /v1/a HTTP/1.1\r\nhost: shop.example\r\n\r\n"]


async def test_the_answer_comes_back_byte_for_byte() -> None:
    body = b"\x1f\x8b not unpacked \x00\xff"
    lines = (b"Content-Encoding: gzip", b"Set-Cookie: a", b"set-cookie: \xe9\xff", b"X-E:")
    said = answer(body, *lines, status=b"418 I'm a teapot")
    async with serve(says(said)) as server, client() as http:
        found = await ask(http, server)
    assert (found.status, found.reason, found.body) == (418, b"I'm a teapot", body)
    assert found.headers == [
        (b"Content-Encoding", b"gzip"),
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"\xe9\xff"),
        (b"X-E", b""),
        (b"Content-Length", b"%d" % len(body)),
    ]


async def test_connections_are_kept_alive() -> None:
    async with serve(says(answer(b"x"))) as server, client() as http:
        for _ in range(20):
            assert (await ask(http, server)).body == b"x"
        assert server.connections == 1
        await asyncio.gather(*[ask(http, server) for _ in range(8)])
        assert server.connections <= 8


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ],
)
async def test_a_connection_that_the_target_gives_up_is_not_used_again(said: bytes) -> None:
    async with serve(says(said)) as server, client() as http:
        for _ in range(3):
            assert (await ask(http, server)).body == b"x"
        assert server.connections == 3


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n"],
            b"abc",
        ),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n"], b""),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 55\r\n\r\n"], b""),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", answer(b"x")], b"x"),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + answer(b"x")], b"x"),
        ([bytes([byte]) for byte in answer(b"slow", b"A: b")], b"slow"),
    ],
)
async def test_each_framing_is_understood_and_leaves_the_connection_usable(
    parts: list[bytes], body: bytes
) -> None:
    async with serve(says(*parts)) as server, client() as http:
        for _ in range(2):
            found = await ask(http, server)
            assert found.body == body
            assert found.status != 100
        assert server.connections == 1


async def test_head_has_headers_and_no_body() -> None:
    async with serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")) as server:
        async with client() as http:
            for _ in range(3):
                found = await ask(http, server, get(method=b"HEAD"))
                assert found.headers == [(b"Content-Length", b"12345")]
                assert found.body == b""
        assert server.connections == 1


async def test_without_framing_the_body_ends_with_the_connection() -> None:
    async with serve(says(b"HTTP/1.1 200 OK\r\n\r\n", b"some", b"thing", close=True)) as server:
        async with client() as http:
            assert (await ask(http, server)).body == b"something"
            assert (await ask(http, server)).body == b"something"
        assert server.connections == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" + answer(b"y"),
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 600 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 300_000,
        b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 200_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_broken_answer_is_an_error_at_once(said: bytes) -> None:
    async with serve(says(said, close=True)) as server, client() as http:
        began = time.monotonic()
        with pytest.raises(UpstreamBroke):
            await ask(http, server)
        assert time.monotonic() - began < 2


async def test_a_body_where_there_is_none_is_not_taken_for_the_next_answer() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra"
    async with serve(says(said)) as server, client() as http:
        with pytest.raises(UpstreamBroke):
            await ask(http, server, get(method=b"HEAD"))
        assert (await ask(http, server)).body == b"extra"


async def test_bytes_that_nobody_asked_for_drop_an_idle_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(answer(b"%d" % peer.number))
        if peer.number == 1:
            await asyncio.sleep(0.05)
            await peer.say(answer(b"poison"))
        await peer.gone()

    async with serve(script) as server, client() as http:
        assert (await ask(http, server)).body == b"1"
        await asyncio.sleep(0.1)
        assert (await ask(http, server)).body == b"2"


async def test_an_answer_longer_than_the_limit_is_refused_and_dropped() -> None:
    for said in (
        answer(b"x" * 1001),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
    ):
        async with serve(says(said)) as server, client() as http:
            with pytest.raises(ResponseTooLarge):
                await ask(http, server, max_body=1000)
    async with serve(says(answer(b"x" * 1000))) as server, client() as http:
        assert len((await ask(http, server, max_body=1000)).body) == 1000


async def test_large_bodies_go_both_ways() -> None:
    body = bytes(range(256)) * 20_000

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(answer(await peer.body(len(body))))

    async with serve(script) as server, client() as http:
        found = await ask(http, server, get(method=b"POST", body=body), max_body=len(body))
        assert found.body == body
    assert b"content-length: 5120000\r\n" in server.heads[0]


@settings(max_examples=60)
@given(data=st.binary(max_size=120), start=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n"]))
def test_any_bytes_are_an_answer_or_an_upstream_error(data: bytes, start: bytes) -> None:
    async def run() -> None:
        async with serve(says(start + data, close=True)) as server, client() as http:
            try:
                await ask(http, server, timeout=2)
            except UpstreamError:
                return

    asyncio.run(run())
