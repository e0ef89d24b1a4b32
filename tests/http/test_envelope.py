"""Envelopes: what goes in comes out, and nothing hostile gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyclient.http import envelope
from pyclient.http.errors import BadEnvelope, UpstreamConnectError, UpstreamError, UpstreamTimeout

VALUES = st.binary(max_size=30).map(lambda raw: bytes(b for b in raw if b >= 0x20 and b != 0x7F))
NAMES = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
TARGETS = st.from_regex(
    rb"/[!-\"$->@-\[\]-~\x80-\xff]{0,30}(\?[!-\"$-~\x80-\xff]{0,20})?", fullmatch=True
)


def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in pairs)


def request(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "method": "GET",
        "target": b"/a?b",
        "base": b"http://api:80",
        "head": b"x-a: 1\r\n",
        "body": b"",
        "has_host": False,
        "framed": False,
    }
    return envelope.write_request(**(fields | changes))  # type: ignore[arg-type]


@given(
    method=st.sampled_from(["GET", "POST", "PROPFIND", "M-SEARCH"]),
    target=TARGETS,
    pairs=PAIRS,
    body=st.binary(max_size=200),
    framed=st.booleans(),
)
def test_a_request_comes_out_as_it_went_in(
    method: str,
    target: bytes,
    pairs: list[tuple[bytes, bytes]],
    body: bytes,
    framed: bool,  # noqa: FBT001 - drawn
) -> None:
    pairs = [p for p in pairs if p[0].lower() not in envelope._FRAMING | {b"host"}]
    data = request(method=method, target=target, head=block(pairs), body=body, framed=framed)
    found = envelope.read_request(data)
    assert (found.method, found.target, found.base) == (method.encode(), target, b"http://api:80")
    assert (found.head, bytes(found.body)) == (block(pairs), body)
    assert found.add_host
    assert found.add_length is (framed or bool(body))


@given(
    status=st.integers(200, 599),
    took=st.integers(0, 10**12),
    reason=VALUES,
    pairs=PAIRS,
    body=st.binary(max_size=200),
)
def test_an_answer_comes_out_as_it_went_in(
    status: int, took: int, reason: bytes, pairs: list[tuple[bytes, bytes]], body: bytes
) -> None:
    data = envelope.write_answer(
        status=status, took_us=took, reason=reason, headers=pairs, body=body
    )
    found = envelope.read_answer(data)
    assert found == (status, took, "ok", reason, pairs, body)


def test_large_bodies_are_not_copied_and_arrive_whole() -> None:
    body = bytes(range(256)) * 4096
    found = envelope.read_request(request(body=body))
    assert isinstance(found.body, memoryview)
    assert found.body == body
    answer = envelope.write_answer(status=200, took_us=1, reason=b"OK", headers=[], body=body)
    assert envelope.read_answer(answer).body == body


@pytest.mark.parametrize("error", [UpstreamConnectError("no"), UpstreamTimeout("späť")])
def test_a_failure_carries_its_kind_and_its_text(error: UpstreamError) -> None:
    found = envelope.read_answer(envelope.write_failure(error, took_us=7))
    assert (found.status, found.kind, found.took_us) == (error.status, error.kind, 7)
    assert bytes(found.body).decode() == str(error)


HOSTILE_HEADS = [
    b"content-length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"TRANSFER-ENCODING: chunked\r\n",
    b"connection: x\r\n",
    b"upgrade: h2c\r\n",
    b"x-a: 1\r\nte: trailers\r\n",
    b"x a: 1\r\n",
    b"x-a : 1\r\n",
    b": 1\r\n",
    b"x-a:1\r\n",
    b"x-a: 1\n",
    b"x-a: 1\rb\r\n",
    b"x-a: \x00\r\n",
    b" x-a: 1\r\n",
    b"x-a: 1\r\n folded\r\n",
    b"host: a\r\n",
]


@pytest.mark.parametrize("head", HOSTILE_HEADS)
def test_a_head_that_would_break_the_framing_is_refused(head: bytes) -> None:
    with pytest.raises(BadEnvelope):
        envelope.read_request(request(head=head))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P1",
        b"P1 - GET / http://a\r\n",
        b"P1 - GET / http://a\r\n\r\n",
        b"P1 h GET / ftp://a\r\n\r\n",
        b"P1 h GET a http://a\r\n\r\n",
        b"P1 h GET http://b/ http://a\r\n\r\n",
        b"P1 h GET /a b http://a\r\n\r\n",
        b"P1 h GET /a#b http://a\r\n\r\n",
        b"P1 h GET /a\\b http://a\r\n\r\n",
        b"P1 h G T / http://a\r\n\r\n",
        b"P1 x GET / http://a\r\n\r\n",
        b"P1 h GET / http://a\r\n\r\nbody",
        b"P2 h GET / http://a\r\n\r\n",
        b"P1 h GET / http://a\n\n",
        b"P1 - GET / http://a\r\nhost: a\r\nhost: b\r\n\r\n",
        b"x" * 3_000_000,
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(BadEnvelope):
        envelope.read_request(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"R1 99 1 ok OK\r\n\r\n",
        b"R1 100 1 ok Continue\r\n\r\n",
        b"R1 101 1 ok Switching\r\n\r\n",
        b"R1 700 1 ok OK\r\n\r\n",
        b"R1 200 -1 ok OK\r\n\r\n",
        b"R1 200 1 OK OK\r\n\r\n",
        b"R1 200 1 ok\r\n\r\n",
        b"R1 200 1 ok O\x00K\r\n\r\n",
        b"R1 200 1 ok OK\r\nx-a: \x01\r\n\r\n",
        b"R1 200 1 ok OK\r\nx a: 1\r\n\r\n",
        b"R1 200 1 ok OK\r\n\x80: 1\r\n\r\n",
        b"R1 200 1 ok OK\r\nx-a: 1\nx-b: 2\r\n\r\n",
        b"R1 200 1 ok OK\r\nx-a: 1",
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadEnvelope):
        envelope.read_answer(data)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"P1 h GET / http://a\r\n", b"R1 200 1 ok \r\n"])
)
def test_any_bytes_are_read_or_refused(data: bytes, start: bytes) -> None:
    for read in (envelope.read_request, envelope.read_answer):
        try:
            read(start + data)
        except BadEnvelope:
            continue


def test_a_reason_cannot_break_the_first_line() -> None:
    data = envelope.write_answer(
        status=200, took_us=1, reason=b"a\r\nset-cookie: x", headers=[], body=b""
    )
    assert envelope.read_answer(data).headers == []
