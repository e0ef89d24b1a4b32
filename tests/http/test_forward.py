"""The built-in route `http`: envelopes in, envelopes out, a real target behind it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from pyclient.http import envelope
from pyclient.http.envelope import Answer
from pyclient.http.errors import BadEnvelope
from pyclient.settings import Settings
from worker_app.http_route import Forwarder

from .rawserver import Peer, RawServer, Script, answer, serve
from .test_client import says


@contextlib.asynccontextmanager
async def forwarder(
    script: Script, **settings: object
) -> AsyncIterator[tuple[Forwarder, RawServer]]:
    async with serve(script) as server:
        made = Forwarder(Settings(**settings))  # type: ignore[arg-type]
        try:
            yield made, server
        finally:
            await made.aclose()


async def send(
    made: Forwarder, base: bytes, *, method: str = "GET", target: bytes = b"/a", body: bytes = b""
) -> Answer:
    data = envelope.write_request(
        method=method,
        target=target,
        base=base,
        head=b"content-type: text/x\r\nx-a: \xe9\r\n",
        body=body,
        has_host=False,
        framed=bool(body),
    )
    return envelope.read_answer(await made.forward(data))


async def test_a_request_goes_to_the_target_of_its_envelope() -> None:
    async with forwarder(says(answer(b"hi", b"X-B: \xff"))) as (made, server):
        found = await send(made, server.target.base, method="POST", target=b"/a?b", body=b"abc")
    assert (found.status, found.kind, found.reason, found.body) == (200, "ok", b"OK", b"hi")
    assert found.headers == [(b"X-B", b"\xff"), (b"Content-Length", b"2")]
    assert server.heads[0].startswith(b"POST /a?b HTTP/1.1\r\nhost: ")
    assert server.heads[0].endswith(b"\r\nx-a: \xe9\r\ncontent-length: 3\r\n\r\n")


async def test_a_worker_with_a_target_of_its_own_calls_no_other() -> None:
    async with serve(says(answer(b"own"))) as own:
        script = says(answer(b"stranger"))
        async with forwarder(script, target_base_url=str(own.target)) as (made, stranger):
            assert (await send(made, stranger.target.base)).body == b"own"
            assert stranger.connections == 0


@pytest.mark.parametrize(
    ("script", "status", "kind"),
    [
        (says(b"", close=True), 502, "broke"),
        (says(b"nonsense", close=True), 502, "broke"),
        (says(answer(b"x" * 2000)), 502, "large"),
        (says(b"HTTP/1.1 200 OK\r\n"), 504, "timeout"),
    ],
)
async def test_a_target_that_fails_is_an_answer_with_a_reason(
    script: Script, status: int, kind: str
) -> None:
    async with forwarder(script, max_response=1024, upstream_timeout=0.3) as (made, server):
        found = await send(made, server.target.base)
    assert (found.status, found.kind) == (status, kind)
    assert bytes(found.body).startswith(b"the ")


async def test_a_target_that_is_gone_is_a_502() -> None:
    async with forwarder(says()) as (made, server):
        base = server.target.base
    made = Forwarder(Settings())
    assert (await send(made, base)).kind == "connect"
    await made.aclose()


async def test_a_malformed_envelope_is_an_error() -> None:
    made = Forwarder(Settings())
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"P1 h GET / http://u:p@h\r\n\r\n"):
        with pytest.raises(BadEnvelope):
            await made.forward(data)


def moved(location: bytes, status: bytes = b"302 Found") -> bytes:
    return answer(b"moved", b"Location: " + location, status=status)


async def redirects(peer: Peer) -> None:
    while True:
        head = await peer.head()
        body = await peer.body(3) if b"content-length: 3" in head else b""
        path = head.split(b" ")[1]
        if path == b"/a":
            await peer.say(moved(b"/b?x=1"))
        elif path == b"/see":
            await peer.say(moved(b"b?x=1", b"303 See Other"))
        elif path == b"/keep":
            await peer.say(moved(b"/b?x=1", b"307 Temporary Redirect"))
        elif path == b"/loop":
            await peer.say(moved(b"/loop"))
        elif path == b"/away":
            await peer.say(moved(b"http://169.254.169.254/"))
        else:
            await peer.say(answer(head.split(b" ")[0] + b" " + path + b" " + body))


async def test_redirects_are_the_clients_business_by_default() -> None:
    async with forwarder(redirects) as (made, server):
        found = await send(made, server.target.base)
        assert (found.status, found.headers[0]) == (302, (b"Location", b"/b?x=1"))
        assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("method", "target", "body", "expected"),
    [
        ("GET", b"/a", b"", b"GET /b?x=1 "),
        ("POST", b"/a", b"abc", b"GET /b?x=1 "),
        ("PUT", b"/see", b"abc", b"GET /b?x=1 "),
        ("POST", b"/keep", b"abc", b"POST /b?x=1 abc"),
        ("GET", b"/loop", b"", b"moved"),
        ("GET", b"/away", b"", b"moved"),
    ],
)
async def test_redirects_within_the_target_are_followed_where_asked(
    method: str, target: bytes, body: bytes, expected: bytes
) -> None:
    async with forwarder(redirects, follow_redirects=3) as (made, server):
        found = await send(made, server.target.base, method=method, target=target, body=body)
        assert found.body == expected
        assert len(server.heads) <= 4
        if expected.startswith(b"GET") and method != "GET":
            assert b"content-" not in server.heads[-1]
