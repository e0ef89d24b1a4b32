"""B07, B08, B15, B16: header lines both ways, and which are ours to write."""

from __future__ import annotations

import pytest

from tests.servers import Server

from .rawclient import Got, connected, request
from .rawtarget import Seen, answer
from .rig import Site, site

COOKIES = [
    b"sid=a,b; Path=/; Expires=Thu, 01 Jan 2032 00:00:00 GMT; HttpOnly",
    b"theme=; Max-Age=0",
    b"sid=c; Path=/shop; SameSite=None; Secure",
]


def send(here: Site, *lines: bytes, path: bytes = b"/h", host: bytes = b"front.example") -> Got:
    with connected(here.port) as client:
        client.send(request(b"GET", path, *lines, host=host))
        return client.answer()


def seen(here: Site, *lines: bytes, host: bytes = b"front.example") -> Seen:
    """What the target gets of a request with these lines."""
    assert send(here, *lines, host=host).status == 200
    return here.target.one(b"/h")


def test_b07_repeated_lines_of_an_answer_stay_apart(here: Site) -> None:
    multi = [b"one", b"", b"two, three", b"one"]
    here.target.default = answer(
        b"x",
        *(b"Set-Cookie: " + cookie for cookie in COOKIES),
        *(b"X-Multi: " + value for value in multi),
        b'Link: <a>; rel="next"',
        b"set-cookie: low=1",
    )
    got = send(here)
    assert got.values(b"set-cookie") == [*COOKIES, b"low=1"]
    assert got.values(b"x-multi") == multi
    assert got.values(b"link") == [b'<a>; rel="next"']


def test_b08_repeated_lines_of_a_request_stay_apart(here: Site) -> None:
    values = [b"z", b"a, b", b"", b"z"]
    cookies = (b"Cookie: a=1; b=2", b"Cookie: c=3")
    found = seen(here, *(b"X-Tag: " + value for value in values), *cookies)
    assert found.values(b"x-tag") == values
    assert found.values(b"cookie") == [b"a=1; b=2", b"c=3"]


def test_b08_values_keep_every_octet(here: Site) -> None:
    value = b'caf\xe9 \xff\x80 "q\\"\t, ~'
    assert seen(here, b"X-Raw: " + value).values(b"x-raw") == [value]
    here.target.default = answer(b"x", b"X-Raw: " + value)
    assert send(here).values(b"x-raw") == [value]


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"Date: Mon, 03 Feb 2025 09:08:07 GMT",),
        (b"Server: shop",),
        (b"Server: shop", b"Date: Mon, 03 Feb 2025 09:08:07 GMT"),
    ],
)
@pytest.mark.parametrize("path", [b"/h", b"/health", b"/docs", b"/target_openapi.json"])
def test_b15_one_date_and_one_server(here: Site, lines: tuple[bytes, ...], path: bytes) -> None:
    here.target.default = answer(b"x", *lines)
    got = send(here, path=path)
    assert got.status == 200
    for line in lines:
        name, value = line.split(b": ", 1)
        assert got.values(name.lower()) == [value]
    assert len(got.values(b"date")) == 1
    assert len(got.values(b"server")) == 1


def test_b15_also_on_the_gateways_own_answers(here: Site) -> None:
    for path in (b"/gateway_health", b"/gateway_docs", b"/a/../b"):
        got = send(here, path=path)
        assert (len(got.values(b"date")), len(got.values(b"server"))) == (1, 1), path


def test_b16_what_belongs_to_the_request_reaches_the_target(here: Site) -> None:
    lines = (
        b"Authorization: Basic dTpw",
        b"Cookie: k=v",
        b"X-Api-Version: 4",
        b"User-Agent: probe/1 (a; b)",
        b'If-None-Match: "a", W/"b"',
        b"Range: bytes=0-9,20-",
        b"Content-Type: application/x-thing",
        b"x-UPPER-lower: Kept",
    )
    found = seen(here, *lines)
    for line in lines:
        name, value = line.split(b": ", 1)
        assert found.values(name.lower()) == [value]


def test_b16_host_is_the_targets(here: Site) -> None:
    found = seen(here, host=b"shop.example:8443")
    assert found.values(b"host") == [here.target.url.removeprefix("http://").encode()]
    assert found.values(b"x-forwarded-host") == [b"shop.example:8443"]


def test_b16_hop_by_hop_lines_are_not_forwarded(here: Site) -> None:
    lines = (
        b"Connection: keep-alive, X-Hop , x-other",
        b"Keep-Alive: timeout=9",
        b"TE: trailers",
        b"Proxy-Authorization: Basic eDp5",
        b"Proxy-Connection: keep-alive",
        b"Trailer: X-Sum",
        b"X-Hop: secret",
        b"X-Other: secret",
        b"X-Stays: 1",
    )
    found = seen(here, *lines)
    ours = {b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via"}
    assert {name.lower() for name, _ in found.lines} == {b"x-stays"} | ours


def test_b16_hop_by_hop_lines_of_an_answer_end_here(here: Site) -> None:
    here.target.default = answer(
        b"x",
        b"Connection: keep-alive, X-Inner",
        b"Keep-Alive: timeout=5, max=9",
        b"X-Inner: secret",
        b"Proxy-Authenticate: Basic",
        b"Trailer: X-Sum",
        b"X-Stays: 1",
    )
    assert send(here).names() == {b"x-stays", b"content-length", b"date", b"server"}


def test_b16_the_path_of_the_request_is_told(here: Site) -> None:
    found = seen(here, b"X-Forwarded-For: 192.0.2.7", b"x-forwarded-for: 192.0.2.8", b"Via: 1.0 a")
    (chain,) = found.values(b"x-forwarded-for")
    assert chain == b"192.0.2.7, 192.0.2.8, 127.0.0.1"
    assert found.values(b"x-forwarded-proto") == [b"http"]
    assert found.values(b"via") == [b"1.0 a", b"1.1 peakshaver"]


def test_b16_claims_of_strangers_are_not_believed(here: Site) -> None:
    found = seen(
        here,
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: evil.example",
        b"X-Real-IP: 192.0.2.1",
        b"Forwarded: for=192.0.2.1",
        b"X_Forwarded_For: 192.0.2.1",
    )
    assert found.values(b"x-forwarded-proto") == [b"http"]
    assert found.values(b"x-forwarded-host") == [b"front.example"]
    assert b"192.0.2.1" not in found.head


def test_b16_a_trusted_proxy_is_believed_and_the_host_can_be_kept(redis: Server) -> None:
    lines = (
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: shop.example",
        b"X-Forwarded-For: 198.51.100.4",
        b"X-Real-IP: 198.51.100.4",
        b"Forwarded: for=198.51.100.4;proto=https",
    )
    with site(redis, PEAK_TRUSTED_PROXIES="127.0.0.0/8", PEAK_PRESERVE_HOST="on") as here:
        here.up()
        found = seen(here, *lines, host=b"inner.example")
    assert found.values(b"host") == [b"inner.example"]
    assert found.values(b"x-forwarded-proto") == [b"https"]
    assert found.values(b"x-forwarded-host") == [b"shop.example"]
    assert found.values(b"x-forwarded-for") == [b"198.51.100.4, 127.0.0.1"]
    assert found.values(b"x-real-ip") == [b"198.51.100.4"]
    (forwarded,) = found.values(b"forwarded")
    assert forwarded.startswith(b"for=198.51.100.4;proto=https, for=127.0.0.1")


def test_b16_too_many_or_too_large_lines_are_431(here: Site) -> None:
    for lines in ([b"X-Pad: " + b"p" * 40_000], [b"X-%d: 1" % n for n in range(120)]):
        assert send(here, *lines).status == 431
    assert here.target.seen == []
