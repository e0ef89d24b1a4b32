r"""Requests and answers as bytes for the queue.

The form is close to the wire, so that neither side takes headers apart twice:

    P1 <flags> <method> <raw target> <base URL>\r\n  name: value\r\n …  \r\n  body
    R1 <status> <µs> <kind> <reason>\r\n             name: value\r\n …  \r\n  body

Flags of a request: `h` write the target's Host, `l` write Content-Length, `-` neither (`hl`
both). Kind of an answer: `ok`, or the `kind` of an UpstreamError, whose body is then a line of
text. Whoever can write to Redis can write an envelope: `read_*` accept only what can be sent on
without breaking the framing, and look at sizes first. They raise BadEnvelope and nothing else.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import BadEnvelope, UpstreamError
from .headers import HOP_BY_HOP

MAX_HEAD = 2 * 1024 * 1024
_VIEW_FROM = 64 * 1024
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
_TARGET = rb"/[^\x00-\x20\x7f\\#?]*(?:\?[^\x00-\x20\x7f#]*)?"
_REQUEST = re.compile(rb"P1 (-|h|l|hl) (%b) (%b) (https?://[\x21-\x7e]+)\r\n" % (_TOKEN, _TARGET))
_RESPONSE = re.compile(rb"R1 ([2-5][0-9][0-9]) ([0-9]{1,15}) ([a-z]{1,16}) (%b)\r\n" % _VALUE)
# At the beginning of a line only: else a line without an end is tried from each of its bytes.
_LINE = re.compile(rb"(?<![^\n])(%b): (%b)\r\n" % (_TOKEN, _VALUE))
_FRAMING = HOP_BY_HOP | {b"content-length", b"expect"}
_REASON = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")

Body = bytes | memoryview


class Request(NamedTuple):
    """What a worker sends on; `head` is the block of header lines, each with its CRLF."""

    method: bytes
    target: bytes
    base: bytes
    add_host: bool
    add_length: bool
    head: bytes
    body: Body


class Answer(NamedTuple):
    """What comes back; `headers` as the target sent them."""

    status: int
    took_us: int
    kind: str
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: Body


def write_request(
    *,
    method: str,
    target: bytes,
    base: bytes,
    head: bytes,
    body: Body,
    has_host: bool,
    framed: bool,
) -> bytes:
    """A request envelope. `framed`: the client announced a body, be it empty."""
    flags = b"" if has_host else b"h"
    flags += b"l" if framed or body else b""
    line = b"P1 %b %b %b %b\r\n" % (flags or b"-", method.encode("latin-1"), target, base)
    return b"".join((line, head, b"\r\n", body))


def read_request(data: bytes) -> Request:
    """Take a request envelope apart; raises BadEnvelope."""
    first, end, body = _split(data, b"P1 ")
    match = _REQUEST.fullmatch(data, 0, first)
    if match is None:
        raise BadEnvelope("the envelope of the request has a malformed first line")
    head = data[first:end]
    names = [name.lower() for name, _ in _lines(head)]
    if not _FRAMING.isdisjoint(names):
        raise BadEnvelope("the envelope of the request holds a header that frames a message")
    flags = match[1]
    add_length = b"l" in flags
    if len(body) and not add_length:
        raise BadEnvelope("the envelope of the request holds a body that is not announced")
    hosts = names.count(b"host") + (b"h" in flags)
    if hosts != 1:
        raise BadEnvelope(f"the envelope of the request has {hosts} hosts, expected one")
    return Request(match[2], match[3], match[4], b"h" in flags, add_length, head, body)


def write_answer(
    *, status: int, took_us: int, reason: bytes, headers: list[tuple[bytes, bytes]], body: Body
) -> bytes:
    """An answer envelope with the header pairs as they came from the target."""
    line = b"R1 %d %d ok %b\r\n" % (status, took_us, _REASON.sub(b" ", reason))
    lines = [b"%b: %b\r\n" % pair for pair in headers]
    return b"".join((line, *lines, b"\r\n", body))


def write_failure(error: UpstreamError, *, took_us: int) -> bytes:
    """An answer envelope for a target that gave none; the text is for the client to read."""
    line = b"R1 %d %d %b \r\n\r\n" % (error.status, took_us, error.kind.encode("ascii"))
    return line + str(error).encode("utf-8")


def read_answer(data: bytes) -> Answer:
    """Take an answer envelope apart; raises BadEnvelope."""
    first, end, body = _split(data, b"R1 ")
    match = _RESPONSE.fullmatch(data, 0, first)
    if match is None:
        raise BadEnvelope("the envelope of the answer has a malformed first line")
    headers = _lines(data[first:end])
    return Answer(int(match[1]), int(match[2]), match[3].decode("ascii"), match[4], headers, body)


def _split(data: bytes, magic: bytes) -> tuple[int, int, Body]:
    """End of the first line, end of the header lines, and the body."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD) + 2
    if not data.startswith(magic) or end < 2:
        raise BadEnvelope(f"expected an envelope {magic[:2].decode()} with a head that ends")
    first = data.index(b"\r\n") + 2
    body = memoryview(data)[end + 2 :] if len(data) > _VIEW_FROM else data[end + 2 :]
    return first, end, body


def _lines(block: bytes) -> list[tuple[bytes, bytes]]:
    """The header lines of a block of which nothing may be left over."""
    pairs: list[tuple[bytes, bytes]] = _LINE.findall(block)
    if sum([len(name) + len(value) for name, value in pairs]) + 4 * len(pairs) != len(block):
        raise BadEnvelope("the envelope holds a malformed header line")
    return pairs
