"""Any request and any answer: through the line they are what they are without it.

Each example goes once straight to the target and once through the gateway; what the target and
the client see must be equal but for the documented header rules, which are written down here a
second time, apart from the product's own.
"""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .stack import Stack, raw
from .target import Target

pytestmark = pytest.mark.leaves_processes

Pairs = list[tuple[bytes, bytes]]

END_HERE = {
    *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    *(b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"http2-settings"),
}
FRAMING = {b"content-length", b"transfer-encoding", b"expect", b"host"}
OURS = re.compile(rb"x[-_]forwarded|x[-_]real[-_]ip|forwarded$|via$|content_length|transfer_enc")
ANSWERS = {b"date", b"server", b"server-timing", b"peak-wait", b"peak-position"}
NAMES = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}", fullmatch=True).filter(
    lambda name: (
        name.lower() not in END_HERE | FRAMING | ANSWERS | {b"priority"}
        and OURS.match(name.lower()) is None
    )
)
VALUES = st.binary(max_size=20).map(
    lambda value: bytes(b for b in value if b >= 0x20 and b != 0x7F).strip(b" ")
)
HOPS = st.sampled_from(
    [
        (b"TE", b"trailers"),
        (b"Keep-Alive", b"timeout=9"),
        (b"Connection", b"x-gone, keep-alive"),
        (b"X-Gone", b"1"),
        (b"Proxy-Authorization", b"x"),
        (b"Cookie", b"a=b"),
        (b"Set-Cookie", b"a=b; Path=/"),
        (b"set-cookie", b"c=d"),
    ]
)
HEADERS = st.lists(st.one_of(st.tuples(NAMES, VALUES), HOPS), max_size=10)
QUERIES = st.from_regex(rb"(\?[!\"$-~]{0,20})?", fullmatch=True)
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"HEAD"])
STATUSES = st.sampled_from([200, 201, 204, 206, 301, 304, 400, 401, 404, 418, 500, 503])
FRAMES = st.sampled_from(["length", "chunked", "close"])


class Example(NamedTuple):
    """One exchange, as bytes."""

    method: bytes
    query: bytes
    headers: Pairs
    body: bytes | None
    chunked: bool
    status: int
    answer: Pairs
    answer_body: bytes
    frame: str


EXAMPLES = st.builds(
    Example,
    METHODS,
    QUERIES,
    HEADERS,
    st.none() | st.binary(max_size=300),
    st.booleans(),
    STATUSES,
    HEADERS,
    st.binary(max_size=300),
    FRAMES,
)
_numbers = itertools.count()


def chunks(body: bytes) -> bytes:
    """A body in chunks of seven bytes."""
    parts = [body[i : i + 7] for i in range(0, len(body), 7)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def request_of(example: Example, name: str) -> bytes:
    head = b"%b /said/%b%b HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n" % (
        example.method,
        name.encode(),
        example.query,
    )
    head += b"".join(b"%b: %b\r\n" % pair for pair in example.headers)
    if example.body is None:
        return head + b"\r\n"
    if example.chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(example.body)
    return head + b"Content-Length: %d\r\n\r\n" % len(example.body) + example.body


def answer_of(example: Example) -> bytes:
    head = b"HTTP/1.1 %d Said\r\nDate: now\r\nServer: target\r\n" % example.status
    head += b"".join(b"%b: %b\r\n" % pair for pair in example.answer)
    body = example.answer_body
    if example.status in (204, 304):
        return head + b"\r\n"
    if example.method == b"HEAD":
        return head + b"Content-Length: %d\r\n\r\n" % len(body)
    if example.frame == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    if example.frame == "chunked":
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(body)
    return head + b"\r\n" + body


def split(message: bytes) -> tuple[bytes, Pairs, bytes]:
    """First line, header pairs with names in lower case, body."""
    head, _, body = message.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    pairs = [line.partition(b":") for line in lines[1:]]
    return lines[0], [(name.lower(), value.strip(b" \t")) for name, _, value in pairs], body


def travelling(pairs: Pairs) -> Pairs:
    """What is left once a proxy has taken away what ends at it, and what is its own to write."""
    named = {
        token.strip().lower()
        for name, value in pairs
        if name == b"connection"
        for token in value.split(b",")
    }
    return [
        (name, value)
        for name, value in pairs
        if name not in END_HERE | FRAMING | ANSWERS | named and OURS.match(name) is None
    ]


def body_of(pairs: Pairs, body: bytes) -> bytes:
    """The body without its framing."""
    if (b"transfer-encoding", b"chunked") not in pairs:
        return body
    whole = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        if int(size, 16) == 0:
            return whole
        whole += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


def exchange(port: int, target: Target, example: Example) -> tuple[object, object]:
    """What the target saw and what the client saw."""
    name = str(next(_numbers))
    target.said[name] = answer_of(example)
    target.closes = example.frame == "close"
    target.seen.clear()
    reply = raw(port, request_of(example, name), timeout=3)
    del target.said[name]
    ((head, body),) = target.seen
    line, pairs, _ = split(head)
    seen = (line.replace(b"/said/" + name.encode(), b"/said"), travelling(pairs), body)
    status, pairs, rest = split(reply)
    lengths = [value for key, value in pairs if key == b"content-length"]
    told = (status.split(b" ")[1], travelling(pairs), body_of(pairs, rest))
    return seen, (*told, lengths if example.method == b"HEAD" else None)


def check(stack: Stack, example: Example) -> None:
    direct = exchange(stack.target.server_address[1], stack.target, example)
    assert exchange(stack.port, stack.target, example) == direct


_quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
_thorough = settings(_quick, max_examples=1000)


@_quick
@given(EXAMPLES)
def test_worker_mode_changes_nothing(stack: Stack, example: Example) -> None:
    check(stack, example)


@_quick
@given(EXAMPLES)
def test_hold_mode_changes_nothing(hold: Stack, example: Example) -> None:
    check(hold, example)


@pytest.mark.full
@_thorough
@given(EXAMPLES)
def test_worker_mode_changes_nothing_in_many_examples(stack: Stack, example: Example) -> None:
    check(stack, example)


@pytest.mark.full
@_thorough
@given(EXAMPLES)
def test_hold_mode_changes_nothing_in_many_examples(hold: Stack, example: Example) -> None:
    check(hold, example)
