"""The guard against a reference: one strict reader of RFC 9112 in a few lines. What the reference
refuses, the protected API must not see; what it takes, the API sees as one and the same request.
"""

from __future__ import annotations

import re
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.stack import Stack
from tests.security.test_http_guard import exchange, seen

pytestmark = pytest.mark.leaves_processes
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A second blank before the version does no harm, and the parser forgives it.
FIRST = re.compile(rb"(%b) ([!-~\x80-\xff]+) +HTTP/1\.([01])" % TOKEN)
PATH = re.compile(rb"/[!-\"$-\[\]-~\x80-\xff]*")
LINE = re.compile(rb"(%b):[ \t]*([!-~\x80-\xff\t ]*)" % TOKEN)
HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# Each try has a number of its own, so that what is late is not taken for another's.
INNER = b"GET /inner/0000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Read(NamedTuple):
    """What the reference makes of the first request: its target, and what is left behind it."""

    target: bytes
    rest: bytes
    closes: bool


def read(data: bytes) -> Read | None:
    """The first request, or None where it has to be refused."""
    head, end, rest = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    match = FIRST.fullmatch(first)
    pairs = [LINE.fullmatch(line) for line in lines]
    if not end or match is None or None in pairs:
        return None
    named: dict[bytes, list[bytes]] = {}
    for pair in pairs:
        assert pair is not None
        named.setdefault(pair[1].lower(), []).append(pair[2].rstrip(b" \t"))
    hosts = named.get(b"host", [])
    if len(hosts) > 1 or (not hosts and match[3] == b"1"):
        return None
    if hosts and HOST.fullmatch(hosts[0]) is None:
        return None
    left = _behind(named, rest, match[3] == b"0")
    closes = match[3] == b"0" or b"close" in b",".join(named.get(b"connection", [])).lower()
    return None if left is None else Read(match[2], left, closes)


def _behind(named: dict[bytes, list[bytes]], rest: bytes, old: bool) -> bytes | None:  # noqa: FBT001
    """What follows the body."""
    codings, lengths = named.get(b"transfer-encoding"), named.get(b"content-length")
    if codings is not None:
        if lengths is not None or old or [c.lower() for c in codings] != [b"chunked"]:
            return None
        while match := re.match(rb"([0-9A-Fa-f]{1,15})\r\n", rest):
            size, rest = int(match[1], 16), rest[match.end() :]
            if rest[size : size + 2] != b"\r\n":
                return None
            rest = rest[size + 2 :]
            if not size:
                return rest
        return None
    if lengths is None:
        return rest
    if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        return None
    return rest[int(lengths[0]) :] if int(lengths[0]) <= len(rest) else None


def expected(data: bytes) -> list[bytes]:
    """The targets of all requests up to the first that is wrong or closes."""
    found = []
    while data and (one := read(data)):
        if PATH.fullmatch(one.target):  # else refused, and the next one is served
            found.append(one.target)
        if one.closes:
            break
        data = one.rest
    return found


HEADS = [
    b"POST /a/0000 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nA: b\r\n\r\n%b"
    % (len(INNER), INNER),
    b"POST /a/0000 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(INNER), INNER),
    b"GET /a/0000 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n",
]
BYTES = st.sampled_from(b'\r\n\t\v\0 :;,/\\#0159abx\x7f\x80\xff-_+"').map(lambda n: bytes([n]))
WORDS = [
    b"\r\nContent-Length: 0",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nHost: i",
    b"\r\n ",
    b"\n",
]
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from("idr"), BYTES | st.sampled_from(WORDS)),
    min_size=1,
    max_size=3,
)


def mutated(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    """Bytes put in, taken out or put in place of others."""
    for where, what, new in edits:
        at = int(where * (len(data) - 1))
        data = data[:at] + (new if what != "d" else b"") + data[at + (what != "i") :]
    return data


@pytest.mark.parametrize("head", HEADS, ids=["length", "chunked", "bare"])
def test_what_the_reference_refuses_never_arrives(hold: Stack, head: bytes) -> None:
    numbers = count()

    @settings(max_examples=80, suppress_health_check=list(HealthCheck))
    @given(EDITS)
    def look(edits: list[tuple[float, str, bytes]]) -> None:
        mark = b"%04d" % next(numbers)
        data = (mutated(head, edits) + INNER).replace(b"/0000", b"/" + mark)
        exchange(hold.port, data, timeout=0.2)
        arrived = [target for target in seen(hold) if mark in target]
        allowed = [target for target in expected(data) if mark in target]
        assert arrived == allowed[: len(arrived)], (data, arrived, allowed)

    look()


def test_the_reference_itself() -> None:
    assert expected(HEADS[0] + INNER) == [b"/a/0000", b"/inner/0000"]
    assert expected(HEADS[1] + INNER) == [b"/a/0000", b"/inner/0000"]
    assert expected(HEADS[2].replace(b"A:", b"Host:") + INNER) == []
    assert expected(HEADS[0].replace(b"A:", b"Content-Length:") + INNER) == []
