"""Whatever goes through the line reaches the other side as it does on a direct connection, but for
the documented header rules (fidelity_rules.py). Raw sockets on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.apps import fidelity_rules as rules
from tests.apps.acceptance.rawclient import Got, RawClient
from tests.apps.acceptance.rawtarget import Script, Seen, Wire
from tests.apps.acceptance.rig import Site, site
from tests.apps.fidelity_messages import Message, answers, requests


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with site(PEAK_MAX_URL="64KiB") as here:
        here.up(1, 4)
        yield here


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, the answer to it, and where the request is cut into writes."""

    request: Message
    answer: Message
    cuts: tuple[int, ...]
    interim: bool

    @property
    def method(self) -> bytes:
        return self.request.first.split(b" ")[0]


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    request = draw(requests())
    answer = draw(answers(request.first.split(b" ")[0]))
    size = len(request.wire())
    cuts = draw(st.lists(st.integers(1, max(1, size - 1)), max_size=3))
    return Exchange(request, answer, tuple(sorted(cuts)), draw(st.booleans()))


class Pair:
    """A direct connection and one through the line, kept alive as far as both sides allow."""

    def __init__(self, here: Site) -> None:
        self.here = here
        self._clients: dict[int, RawClient] = {}

    def run(self, exchange: Exchange, port: int) -> tuple[Seen, Got]:
        """What the target and what the client see."""
        target = self.here.target
        target.seen.clear()
        target.default = _script(exchange)
        client = self._clients.pop(port, None) or RawClient(port, timeout=10)
        data = exchange.request.wire()
        for start, end in zip((0, *exchange.cuts), (*exchange.cuts, len(data)), strict=True):
            client.send(data[start:end])
        got = client.answer(exchange.method)
        if _ends(exchange.request) or got.framing == "close" or _says_close(got):
            assert client.ended(), "nothing may follow the answer, and the connection ends"
            client.close()
        else:
            self._clients[port] = client
        (seen,) = target.seen
        return seen, got

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def _script(exchange: Exchange) -> Script:
    def script(seen: Seen, wire: Wire) -> None:
        if exchange.interim:
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: early=1\r\n\r\n")
        wire.send(exchange.answer.wire())
        if exchange.answer.framing == "close" or _ends(exchange.request):
            wire.close()

    return script


def _ends(message: Message) -> bool:
    return any(name == b"Connection" and b"close" in value for name, value in message.lines)


def _says_close(got: Got) -> bool:
    return any(b"close" in value.lower() for value in got.values(b"connection"))


def check(pair: Pair, exchange: Exchange) -> None:
    here = pair.here
    direct_seen, direct = pair.run(exchange, here.target.port)
    seen, got = pair.run(exchange, here.port)
    host = here.target.url.removeprefix("http://").encode()
    assert (seen.method, seen.target, seen.body) == (
        direct_seen.method,
        direct_seen.target,
        direct_seen.body,
    )
    framed = exchange.request.framing != "none"
    wanted = rules.at_target(direct_seen.lines, host=host, body=seen.body if framed else None)
    assert [(name.lower(), value) for name, value in seen.lines] == wanted
    assert (got.status, got.body) == (direct.status, direct.body)
    asked = rules.at_client(
        direct.lines, status=got.status, method=exchange.method, body=direct.body
    )
    assert _comparable(got.lines, asked) == _comparable(asked, asked)
    assert (len(got.values(b"date")), len(got.values(b"server"))) == (1, 1)


def _comparable(lines: rules.Lines, asked: rules.Lines) -> tuple[rules.Lines, rules.Lines]:
    """Lines in order; Content-Length apart, for its place is free. Left out is what may be ours to
    add: Connection, Date and Server where there was none, the times of a request that waited."""
    there = {name for name, _ in asked}
    ours = {b"connection"} | ({b"date", b"server"} - there)
    found = [(name.lower(), value) for name, value in lines if name.lower() not in ours]
    waited = {b"server-timing", b"peak-wait", b"peak-position"} - there
    rest = [pair for pair in found if pair[0] not in waited and pair[0] != b"content-length"]
    return rest, [pair for pair in found if pair[0] == b"content-length"]


def _run(here: Site, examples: int) -> None:
    pair = Pair(here)

    @hypothesis.settings(max_examples=examples, database=None)
    @hypothesis.given(exchanges())
    def same(exchange: Exchange) -> None:
        check(pair, exchange)

    try:
        same()
    finally:
        pair.close()


def test_two_hundred_exchanges_are_as_on_a_direct_connection(running: Site) -> None:
    _run(running, 200)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_two_thousand_exchanges_are_as_on_a_direct_connection(running: Site) -> None:
    _run(running, 2000)
