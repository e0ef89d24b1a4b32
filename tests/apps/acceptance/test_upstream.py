"""B13, B28, B29, B47, and what else a target can do wrong: redirects, refusals, silence."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.servers import Server, free_ports

from .rawtarget import Script, Seen, Wire, answer, slow
from .rig import Site, site

REDIRECTS = {
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
}


def redirect(status: int, where: bytes) -> bytes:
    return answer(b"there", b"Location: " + where, status=b"%d %b" % (status, REDIRECTS[status]))


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("method", [b"GET", b"POST"], ids=bytes.decode)
def test_b13_a_redirect_is_the_clients_business(here: Site, status: int, method: bytes) -> None:
    where = b"/new?x=1" if status < 303 else b"https://elsewhere.example/%2F"
    here.target.answers[b"/old"] = redirect(status, where)
    got = here.ask(method, b"/old", body=b"data" if method == b"POST" else None)
    assert (got.status, got.values(b"location"), got.body) == (status, [where], b"there")
    assert len(here.target.seen) == 1


def test_b13_b47_following_can_be_switched_on_within_bounds(redis: Server) -> None:
    with site(redis, PEAK_FOLLOW_REDIRECTS="3") as here:
        here.target.answers[b"/a"] = redirect(302, b"b?y=2")
        here.target.answers[b"/b"] = redirect(307, here.target.url.encode() + b"/c")
        here.target.answers[b"/away"] = redirect(302, b"http://169.254.169.254/latest")
        here.target.answers[b"/loop"] = redirect(302, b"/loop")
        here.up()
        got = here.ask(b"GET", b"/a")
        assert (got.status, got.body) == (200, b"fine")
        assert [seen.target for seen in here.target.seen] == [b"/a", b"/b?y=2", b"/c"]
        assert here.ask(b"GET", b"/away").values(b"location") == [b"http://169.254.169.254/latest"]
        assert here.ask(b"GET", b"/loop").status == 302
        assert len(here.target.at(b"/loop")) == 4


def test_b47_a_loop_of_redirects_ends_at_the_first(here: Site) -> None:
    here.target.answers[b"/loop"] = redirect(302, b"/loop")
    assert here.ask(b"GET", b"/loop").status == 302
    assert len(here.target.at(b"/loop")) == 1


@pytest.fixture(scope="module")
def broken(redis: Server) -> Iterator[Site]:
    """Short times, and paths that never queue beside those that do."""
    env = {
        "PEAK_UPSTREAM_TIMEOUT": "0.6",
        "PEAK_CONNECT_TIMEOUT": "0.5",
        "FAST_PRIORITY_PASS_THROUGH": "direct",
    }
    with site(redis, **env) as here:
        here.up(1, 8)
        yield here


WAYS = [b"/queued", b"/direct"]


def hang_up(seen: Seen, wire: Wire) -> None:
    wire.close()


def reset(seen: Seen, wire: Wire) -> None:
    wire.reset()


def garbage(seen: Seen, wire: Wire) -> None:
    wire.send(b"SSH-2.0-OpenSSH_9\r\n\r\n")
    wire.close()


def half_a_head(seen: Seen, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    wire.close()


def two_lengths(seen: Seen, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")


def another_coding(seen: Seen, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


def another_protocol(seen: Seen, wire: Wire) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    wire.send(head + b"\x00\x01")


BREAKS = [hang_up, reset, garbage, half_a_head, two_lengths, another_coding, another_protocol]


@pytest.mark.parametrize("script", BREAKS)
@pytest.mark.parametrize("path", WAYS)
def test_b28_a_target_that_breaks_is_502(broken: Site, path: bytes, script: Script) -> None:
    broken.target.default = script
    for method in (b"GET", b"POST"):
        got = broken.ask(method, path, body=None if method == b"GET" else b"1")
        assert got.status == 502
        assert got.problem["status"] == 502


def cut_short(seen: Seen, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    wire.close()


def test_b28_half_an_answer_is_never_taken_for_a_whole_one(broken: Site) -> None:
    broken.target.default = cut_short
    assert broken.ask(b"GET", b"/queued").status == 502
    with pytest.raises((ConnectionError, AssertionError)):  # streamed: the connection breaks off
        broken.ask(b"GET", b"/direct")


@pytest.mark.parametrize("path", [*WAYS, b"/docs", b"/redoc", b"/target_openapi.json"])
def test_b29_a_target_that_is_slow_is_504_at_the_limit(broken: Site, path: bytes) -> None:
    broken.target.default = slow(1.2)
    got = broken.ask(b"GET", path)
    assert (got.status, got.problem["status"]) == (504, 504)
    assert 0.55 < got.took < 1.1


@pytest.mark.parametrize("path", WAYS)
def test_b29_a_target_that_dawdles_over_its_body_is_bounded_too(broken: Site, path: bytes) -> None:
    def drip(seen: Seen, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(20):
            wire.send(b"x")
            time.sleep(0.1)

    broken.target.default = drip
    began = time.monotonic()
    if path == b"/queued":
        assert broken.ask(b"GET", path).status == 504
    else:
        with pytest.raises((ConnectionError, AssertionError)):
            broken.ask(b"GET", path)
    assert time.monotonic() - began < 1.1


@pytest.mark.parametrize("silent", [False, True], ids=["closed port", "full backlog"])
def test_b28_a_target_that_takes_no_connection_is_502(redis: Server, *, silent: bool) -> None:
    with socket.socket() as listener:
        port = free_ports(1)[0]
        fillers = [socket.socket() for _ in range(4 * silent)]
        if silent:
            listener.bind(("127.0.0.1", port))
            listener.listen(0)
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        url = f"http://127.0.0.1:{port}"
        with site(redis, FAST_PRIORITY_TARGET_BASE_URL=url, PEAK_CONNECT_TIMEOUT="0.4") as here:
            here.worker(wait=False)
            here.gateway()
            here.ask(b"GET", b"/first")  # until the worker is there
            for path in (b"/queued", b"/health", b"/docs", b"/target_openapi.json"):
                got = here.ask(b"GET", path)
                assert (got.status, got.problem["status"]) == (502, 502), path
                assert got.took < 1.0
        for filler in fillers:
            filler.close()
