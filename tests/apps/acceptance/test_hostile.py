"""Requests that one server takes for one thing and the next for another: refused with 400, the
connection ends, and the target sees nothing of them (nor of what follows).
"""

from __future__ import annotations

import contextlib

import pytest

from .rawclient import RawClient, connected
from .rig import Site

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"\r\n0\r\n\r\n"
HOSTILE = {
    "length and chunked": POST + b"Content-Length: 4\r\n" + CHUNKED + END,
    "chunked and length": POST + CHUNKED + b"Content-Length: 4\r\n" + END,
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "the same length twice": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\na",
    "a signed length": POST + b"Content-Length: +1\r\n\r\na",
    "a hexadecimal length": POST + b"Content-Length: 0x1\r\n\r\na",
    "an endless length": POST + b"Content-Length: 99999999999999999999999\r\n\r\na",
    "a word before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n" + END,
    "chunked is not last": POST + b"Transfer-Encoding: chunked, gzip\r\n" + END,
    "almost chunked": POST + b"Transfer-Encoding: xchunked\r\n" + END,
    "chunked twice": POST + CHUNKED + CHUNKED + END,
    "a tab in the coding": POST + b"Transfer-Encoding: \x0bchunked\r\n" + END,
    "a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n" + END,
    "an empty coding": POST + b"Transfer-Encoding:\r\n" + END,
    "a signed chunk": POST + CHUNKED + b"\r\n+1\r\na\r\n0\r\n\r\n",
    "a hexadecimal prefix": POST + CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    "a chunk that runs over": POST + CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n",
    "a line feed in an extension": POST + CHUNKED + b"\r\n1;a\nb\r\na\r\n0\r\n\r\n",
    "chunks of HTTP/1.0": b"POST /x HTTP/1.0\r\nHost: h\r\n" + CHUNKED + END,
    "bare line feeds": b"GET /x HTTP/1.1\nHost: h\n\n",
    "a bare carriage return": b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n",
    "a folded line": b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
    "a NUL": b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n",
    "a line without a colon": b"GET /x HTTP/1.1\r\nHost: h\r\nnothing\r\n\r\n",
    "a blank in a name": b"GET /x HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n",
    "no name": b"GET /x HTTP/1.1\r\nHost: h\r\n: c\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    "a host with a path": b"GET /x HTTP/1.1\r\nHost: evil/h?x=\r\n\r\n",
    "a host with a user": b"GET /x HTTP/1.1\r\nHost: u@h\r\n\r\n",
    "no path": b"GET x HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTTP/1.9": b"GET /x HTTP/1.9\r\nHost: h\r\n\r\n",
    "a tunnel": b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_what_has_two_meanings_is_refused(here: Site, sent: bytes) -> None:
    with connected(here.port) as client:
        client.send(sent + NEXT)
        got = client.answer()
        assert got.status == 400
        assert _ends(client)
    assert here.ask(b"GET", b"/fine").status == 200
    assert [seen.target for seen in here.target.seen] == [b"/fine"]


@pytest.mark.parametrize("target", [b"http://h/x", b"http://169.254.169.254/", b"*", b"https:x"])
def test_a_target_that_is_no_path_is_refused(here: Site, target: bytes) -> None:
    with connected(here.port) as client:
        client.send(b"OPTIONS %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
        assert client.answer().status == 400
    assert here.target.seen == []


def _ends(client: RawClient) -> bool:
    """Nothing but the end follows; a reset is one, for what was sent is not read."""
    with contextlib.suppress(ConnectionError):
        return client.rest() == b""
    return True


@pytest.mark.parametrize(
    "sent", [b"", b"GET /x HTTP/1.1\r\nHo", POST + b"Content-Length: 9\r\n\r\nabc"]
)
def test_half_a_request_goes_nowhere(here: Site, sent: bytes) -> None:
    with connected(here.port) as client:
        client.send(sent)
    assert here.ask(b"GET", b"/fine").status == 200
    assert [seen.target for seen in here.target.seen] == [b"/fine"]


def test_pipelined_requests_are_answered_in_order(here: Site) -> None:
    with connected(here.port) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(5)))
        assert [client.answer().status for _ in range(5)] == [200] * 5
    assert [seen.target for seen in here.target.seen] == [b"/%d" % n for n in range(5)]


def test_http_1_0_is_served_and_closed(here: Site) -> None:
    with connected(here.port) as client:
        client.send(b"GET /old HTTP/1.0\r\n\r\n")
        got = client.answer()
        assert (got.status, got.body) == (200, b"fine")
        assert client.ended()
    assert here.target.one(b"/old").target == b"/old"
