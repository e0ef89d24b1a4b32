"""B01–B06, B09, B10: methods, statuses and bodies."""

from __future__ import annotations

import gzip
import hashlib
import random
import time

import pytest

from tests.servers import Server

from .rawclient import chunked, connected, request
from .rawtarget import RawTarget, Seen, Wire, answer
from .rig import Site, site

METHODS = (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"HEAD", b"TRACE")
STATUSES = {
    204: b"No Content",
    206: b"Partial Content",
    304: b"Not Modified",
    400: b"Bad Request",
    401: b"Unauthorized",
    404: b"Not Found",
    409: b"Conflict",
    418: b"I'm a teapot",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


def noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_b01_a_get_answers_as_the_target_does(here: Site) -> None:
    lines = (b"Content-Type: text/x-list; charset=utf-8", b"Server: shop/3", b"X-Kind: a")
    here.target.default = answer(b"[1, 2, 3]\n", *lines, b"Date: Wed, 01 Jan 2025 10:00:00 GMT")
    got = here.ask(b"GET", b"/items?kind=book&limit=20")
    assert (got.status, got.body) == (200, b"[1, 2, 3]\n")
    assert here.target.one(b"/items").target == b"/items?kind=book&limit=20"
    assert got.names() == {b"content-type", b"server", b"x-kind", b"date", b"content-length"}
    assert got.values(b"server") == [b"shop/3"]
    assert got.values(b"content-type") == [b"text/x-list; charset=utf-8"]


@pytest.mark.parametrize("method", METHODS, ids=bytes.decode)
def test_b02_every_method_reaches_the_target(here: Site, method: bytes) -> None:
    got = here.ask(method, b"/m")
    assert got.status == 200
    assert here.target.one(b"/m").method == method
    assert got.body == (b"" if method == b"HEAD" else b"fine")


@pytest.mark.parametrize(
    "method", [b"PROPFIND", b"PURGE", b"SEARCH", b"BREW", b"get", b"X-a.b~1!"], ids=bytes.decode
)
def test_b02_rarer_methods_are_forwarded_too(here: Site, method: bytes) -> None:
    assert here.ask(method, b"/m", body=b"<x/>").status == 200
    assert here.target.one(b"/m").method == method
    assert here.target.one(b"/m").body == b"<x/>"


def test_b02_request_lines_that_come_in_pieces_and_one_after_the_other(here: Site) -> None:
    with connected(here.port) as client:
        for method in (b"BREW", b"POST", b"brew"):
            data = b"\r\n" + request(method, b"/pot\xc3\xa9?a", body=b"coffee")
            for at in range(20):
                client.send(data[at : at + 1])
                time.sleep(0.001)
            client.send(data[20:])
            assert client.answer().status == 200
            seen = here.target.seen.pop()
            assert (seen.method, seen.target, seen.body) == (method, b"/pot\xc3\xa9?a", b"coffee")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"CONNECT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 501),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"F@O / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"FOO  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"FOO /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"FOO / HTTP/1.1\nHost: a\n\n", 400),
        (b"FOO / HTTP/3.1\r\nHost: a\r\n\r\n", 400),
        (b"F" * 65 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"FOO /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"\x16\x03\x01\x02\x00\x01", 400),
    ],
    ids=range(10),
)
def test_b02_what_is_no_request_line_is_refused_at_once(
    here: Site, data: bytes, status: int
) -> None:
    with connected(here.port) as client:
        client.send(data)
        got = client.answer()
        assert (got.status, client.ended()) == (status, True)
        assert got.took < 1
    assert here.target.seen == []


@pytest.mark.parametrize("size", [0, 1, 4095, 4097, 65_535, 65_537, 1_000_003, 9_900_000])
def test_b03_a_body_reaches_the_target_as_it_is(here: Site, size: int) -> None:
    body = noise(size)
    assert here.ask(b"POST", b"/up", body=body).status == 200
    seen = here.target.one(b"/up")
    assert (len(seen.body), digest(seen.body)) == (size, digest(body))
    assert seen.values(b"content-length") == [b"%d" % size]


@pytest.mark.parametrize("size", [1, 4097, 200_001, 9_900_000])
def test_b03_a_body_comes_back_as_it_is(here: Site, size: int) -> None:
    body = noise(size, seed=8)
    here.target.default = answer(body)
    got = here.ask(b"GET", b"/down")
    assert (got.status, len(got.body), digest(got.body)) == (200, size, digest(body))


def test_b03_a_body_beyond_the_limit_is_refused_with_413(here: Site) -> None:
    limit = 10 * 1024 * 1024
    with connected(here.port) as client:
        client.send(request(b"POST", b"/up", b"Content-Length: %d" % (limit + 1)))
        assert client.answer().status == 413
    parts = [noise(limit // 4)] * 4
    with connected(here.port) as client:
        client.send(request(b"POST", b"/up", b"Transfer-Encoding: chunked"))
        for part in parts:
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"1\r\nx\r\n")
        assert client.answer().status == 413
    assert here.target.seen == []


def test_b03_with_a_higher_limit_20_mb_pass_both_ways(redis: Server) -> None:
    body = noise(20_000_000)

    def echo(seen: Seen, wire: Wire) -> None:
        wire.send(answer(seen.body))

    with site(redis, PEAK_MAX_BODY="32MiB", PEAK_MAX_RESPONSE="32MiB") as here:
        here.target.answers[b"/up"] = echo
        here.up()
        got = here.ask(b"POST", b"/up", body=body)
        assert digest(here.target.one(b"/up").body) == digest(body)
        assert (got.status, digest(got.body)) == (200, digest(body))


@pytest.mark.parametrize("end", [b"", b"X-Sum: 12\r\n"], ids=["plain", "trailer"])
def test_b04_a_chunked_upload_arrives_whole(here: Site, end: bytes) -> None:
    parts = [b"first,", noise(70_000), b"\r\n0\r\n\r\n", b"x"]
    sent = chunked(*parts)[: -len(b"\r\n")] + end + b"\r\n"
    with connected(here.port) as client:
        client.send(request(b"PUT", b"/chunks", b"Transfer-Encoding: chunked") + sent)
        assert client.answer().status == 200
        client.send(request(b"GET", b"/after"))
        assert client.answer().status == 200
    assert here.target.one(b"/chunks").body == b"".join(parts)
    assert here.target.one(b"/chunks").values(b"x-sum") == []


@pytest.mark.parametrize("status", STATUSES)
def test_b05_statuses_travel_with_body_and_headers(here: Site, status: int) -> None:
    lines: tuple[bytes, ...] = (
        b'ETag: W/"7-\xe9"',
        b'WWW-Authenticate: Basic realm="a, b"',
        b"Retry-After: 7",
    )
    bare = status in (204, 304)
    body = b"" if bare else b"status %d" % status
    head = b"%d %b" % (status, STATUSES[status])
    if bare:
        lines += (b"Content-Length: 4096",) * (status == 304)
        said = b"HTTP/1.1 %b\r\n%b\r\n\r\n" % (head, b"\r\n".join(lines))
    else:
        said = answer(body, *lines, status=head)
    here.target.default = said
    with connected(here.port) as client:
        for _ in range(2):  # the second one shows that the first ended where it should
            client.send(request(b"GET", b"/status"))
            got = client.answer()
            assert (got.status, got.body) == (status, body)
            for line in lines:
                name, value = line.split(b": ", 1)
                assert got.values(name.lower()) == [value]


def test_b06_head_keeps_the_length_and_has_no_body(here: Site) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 48213\r\nContent-Type: image/png\r\n\r\n"
    here.target.default = said
    with connected(here.port) as client:
        for _ in range(2):
            client.send(request(b"HEAD", b"/picture"))
            got = client.answer(b"HEAD")
            assert (got.status, got.body) == (200, b"")
            assert got.values(b"content-length") == [b"48213"]
    assert [seen.method for seen in here.target.at(b"/picture")] == [b"HEAD", b"HEAD"]


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
@pytest.mark.parametrize("way", ["length", "chunked"])
def test_b09_a_packed_answer_stays_packed(here: Site, asked: bool, way: str) -> None:  # noqa: FBT001
    text = b"the same line again and again\n" * 400
    packed = gzip.compress(text)
    lines = (b"Content-Encoding: gzip", b"Vary: Accept-Encoding")
    if way == "length":
        here.target.default = answer(packed, *lines)
    else:
        head = b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"Transfer-Encoding: chunked"))
        half = len(packed) // 2
        here.target.default = head + b"\r\n\r\n" + chunked(packed[:half], packed[half:])
    got = here.ask(b"GET", b"/text", *([b"Accept-Encoding: gzip, br;q=0.1"] if asked else []))
    assert got.values(b"content-encoding") == [b"gzip"]
    assert got.body == packed
    assert gzip.decompress(got.body) == text


def test_b10_nothing_is_added_to_what_the_client_accepts(here: Site) -> None:
    here.ask(b"GET", b"/bare")
    head = here.target.one(b"/bare").lines
    ours = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via", b"host"}
    assert {name.lower() for name, _ in head} == ours
    here.ask(b"GET", b"/asks", b"Accept-Encoding: identity;q=0.5 , zstd")
    assert here.target.one(b"/asks").values(b"accept-encoding") == [b"identity;q=0.5 , zstd"]


def test_b01_the_target_keeps_a_connection_for_many_requests(here: Site) -> None:
    target: RawTarget = here.target
    before = target.connections
    for _ in range(20):
        assert here.ask(b"GET", b"/again").status == 200
    assert target.connections - before <= 1


def test_b03_a_client_that_asks_before_it_sends_is_told_to_go_on(here: Site) -> None:
    with connected(here.port) as client:
        lines = (b"Expect: 100-continue", b"Content-Length: 5")
        client.send(request(b"POST", b"/asks", *lines))
        assert client.interim().startswith(b"HTTP/1.1 100 ")
        client.send(b"12345")
        assert client.answer().status == 200
    seen = here.target.one(b"/asks")
    assert (seen.body, seen.values(b"expect")) == (b"12345", [])
