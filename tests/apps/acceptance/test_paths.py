"""B11, B12, B43, B44, and B17–B20: raw targets, base addresses, and which paths are urgent."""

from __future__ import annotations

import pytest

from tests.servers import Server

from .rig import Site, site

RAW = [
    b"/x%2Fy/z",
    b"/x%2fy",
    b"/x%3Fy=1",
    b"/x%23y",
    b"/x%25y",
    b"/x%2520y",
    b"/x%20y+z",
    b"/%C3%A4%c3%b6",
    b"/~a:b@c!d$e&f'g(h)i*j;k=l,m",
    b"/trail/",
    b"/a//b",
    b"//a",
    b"/a/b...c/.hidden",
    b'/[x]|^`{}"<>',
    b"/\xc3\xa4/\xff%C3",
]
QUERIES = [
    b"?a=%26&a=&a=%2B+z",
    b"?",
    b"?=",
    b"?a&b&&c",
    b"?u=http://h/?q=1/../2&%00=%0A",
    b"?%C3%A4=%c3",
    b"??",
    b"?a=/b//c'\"<>",
    b"?\xc3\xa4=\x80",
]
# Passed on untouched or refused, but never sent on as something else.
TRAVERSALS = [
    b"/a/../b",
    b"/./a",
    b"/a/%2e%2e/b",
    b"/a/..%2fb",
    b"/a/.%252e/b",
    b"/a\\..\\b",
    b"/a%00b",
    b"/a%0d%0aX:%20y",
    b"/a#b",
    b"*",
    b"http://elsewhere.example/a",
]


@pytest.mark.parametrize("raw", RAW)
def test_b11_a_raw_path_is_passed_on_as_it_is(here: Site, raw: bytes) -> None:
    assert here.ask(b"GET", raw).status == 200
    (seen,) = here.target.seen
    assert seen.target == raw


@pytest.mark.parametrize("raw", TRAVERSALS)
def test_b11_a_path_with_two_meanings_is_never_reinterpreted(here: Site, raw: bytes) -> None:
    got = here.ask(b"GET", raw)
    assert got.status == 400
    assert here.target.seen == []


def test_b11_the_same_holds_where_nothing_queues(redis: Server) -> None:
    with site(redis, FAST_PRIORITY_PASS_THROUGH="x%2Fy, a/b/c") as here:
        here.gateway()
        for raw in (b"/a%2Fb/c?x=%26", b"/a/b/c/?"):
            assert here.ask(b"GET", raw).status == 200
        assert [seen.target for seen in here.target.seen] == [b"/a%2Fb/c?x=%26", b"/a/b/c/?"]


@pytest.mark.parametrize("query", QUERIES)
def test_b12_a_query_is_passed_on_as_it_is(here: Site, query: bytes) -> None:
    assert here.ask(b"GET", b"/q" + query).status == 200
    assert here.target.one(b"/q").target == b"/q" + query


def test_b12_no_question_mark_is_added(here: Site) -> None:
    here.ask(b"GET", b"/q")
    assert here.target.one(b"/q").target == b"/q"


@pytest.mark.parametrize(("base", "prefix"), [("/", b""), ("/api/v%202/", b"/api/v%202")])
def test_b43_b44_a_base_address_is_joined_with_one_slash(
    redis: Server, base: str, prefix: bytes
) -> None:
    with site(redis) as here:
        url = here.target.url + base
        here.up(FAST_PRIORITY_TARGET_BASE_URL=url)
        here.ask(b"GET", b"/one/two?x")
        here.ask(b"GET", b"/health")
        here.ask(b"GET", b"/")
        here.ask(b"GET", b"/docs")
        seen = [seen.target for seen in here.target.seen]
    assert seen == [prefix + b"/one/two?x", prefix + b"/health", prefix + b"/", prefix + b"/docs"]


def test_b44_a_worker_without_a_target_of_its_own_takes_the_gateways(redis: Server) -> None:
    with site(redis) as here:
        here.gateway(FAST_PRIORITY_TARGET_BASE_URL=here.target.url + "/api")
        here.worker(FAST_PRIORITY_TARGET_BASE_URL="")
        here.ask(b"GET", b"/one")
        assert here.target.seen[0].target == b"/api/one"
