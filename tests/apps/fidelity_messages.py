"""Strategies for raw HTTP/1.1 messages that are legal, if odd."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from hypothesis import strategies as st

# CONNECT is for proxies of another kind.
METHODS = (
    b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK "
    b"SEARCH REPORT M-SEARCH NOTIFY SUBSCRIBE PURGE LINK UNLINK BIND ACL MERGE CHECKOUT SOURCE"
).split()
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SPECIAL_REQUEST = [
    b"Accept-Encoding",
    b"Authorization",
    b"Content-Encoding",
    b"Content-Type",
    b"Cookie",
    b"Forwarded",
    b"Keep-Alive",
    b"Proxy-Authorization",
    b"Proxy-Connection",
    b"TE",
    b"Trailer",
    b"Via",
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Forwarded-Proto",
    b"X-Real-IP",
    b"X_Forwarded_For",
    b"x-a",
    b"X-A",
    b"X_B",
]
_SPECIAL_ANSWER = [
    b"Cache-Control",
    b"Content-Encoding",
    b"Content-Type",
    b"DATE",
    b"Date",
    b"ETag",
    b"Keep-Alive",
    b"Link",
    b"Location",
    b"Proxy-Authenticate",
    b"Retry-After",
    b"Server",
    b"Set-Cookie",
    b"Trailer",
    b"Via",
    b"WWW-Authenticate",
    b"server",
    b"set-cookie",
    b"x-a",
    b"X-A",
    b"X_B",
]
# What would mean something else than a field of this message.
_NEVER = {
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"http2-settings",
    b"transfer-encoding",
    b"upgrade",
}


def _bytes_of(alphabet: bytes, least: int, most: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(alphabet), min_size=least, max_size=most).map(bytes)


_INSIDE = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
values = _bytes_of(_INSIDE, 0, 24).map(lambda value: value.strip(b" \t"))
_names = _bytes_of(_TOKEN, 1, 12).filter(lambda name: name.lower() not in _NEVER)
_segment = st.one_of(
    _bytes_of(b"abcXYZ019-._~!$&'()*+,;=:@[]|^`{}\"<>", 0, 6),
    _bytes_of(b"0123456789abcdefABCDEF", 2, 2).map(lambda pair: b"%" + pair),
    _bytes_of(bytes(range(0x80, 0x100)), 1, 3),
)
_paths = st.lists(_segment, min_size=1, max_size=5).map(lambda parts: b"/" + b"/".join(parts))
_queries = st.one_of(
    st.just(b""),
    _bytes_of(b"abc012%&=+?/:@-._~!$'()*,;[]{}|^`\"<>\\", 0, 16).map(lambda query: b"?" + query),
)


def _has_two_meanings(path: bytes) -> bool:
    """Whether decoding it once or twice gives dot segments or control bytes: that is refused."""
    forms = [path, unquote_to_bytes(path), unquote_to_bytes(unquote_to_bytes(path))]
    return any(
        re.search(rb"(^|[/\\])\.{1,2}([/\\;?#]|$)", form) or re.search(rb"[\x00-\x1f\x7f]", form)
        for form in forms
    )


targets = st.tuples(_paths.filter(lambda path: not _has_two_meanings(path)), _queries).map(b"".join)
_pieces = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=30),
        st.builds(bytes.__mul__, st.binary(min_size=1, max_size=4), st.integers(1000, 9000)),
    ),
    max_size=4,
).map(tuple)
_hops = st.lists(st.sampled_from([b"X-A", b"x_b", b"keep-alive", b"Via", b"X-Hop"]), max_size=2)


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: lines without framing, a body in pieces, and how its end is told."""

    first: bytes
    lines: tuple[tuple[bytes, bytes], ...]
    framing: str  # none, length, chunked, close
    pieces: tuple[bytes, ...]
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    length: int | None = None  # said without a body: HEAD and 304

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def wire(self) -> bytes:
        """The message byte for byte."""
        lines = list(self.lines)
        if self.length is not None:
            lines.append((b"Content-Length", b"%d" % self.length))
        body = self.body
        if self.framing == "length":
            lines.insert(len(lines) // 2, (b"content-LENGTH", b"%d" % len(body)))
        elif self.framing == "chunked":
            lines.insert(len(lines) // 2, (b"Transfer-Encoding", b"chunked"))
            parts = [b'%X;x="y"\r\n%b\r\n' % (len(piece), piece) for piece in self.pieces]
            body = b"".join([*parts, b"0\r\n", *map(_line, self.trailers), b"\r\n"])
        return b"".join([self.first, b"\r\n", *map(_line, lines), b"\r\n", body])


def _line(pair: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b\r\n" % pair


def _lines(special: list[bytes]) -> st.SearchStrategy[tuple[tuple[bytes, bytes], ...]]:
    pairs = st.tuples(st.one_of(st.sampled_from(special), _names), values)
    return st.lists(pairs, max_size=9).map(tuple)


_trailers = st.lists(st.tuples(st.sampled_from([b"X-Sum", b"x-a"]), values), max_size=2).map(tuple)


@st.composite
def requests(draw: st.DrawFn) -> Message:
    """A request; `Host: front.example:81` stands somewhere among its lines."""
    method = draw(
        st.one_of(
            st.sampled_from(METHODS),
            st.sampled_from([b"GET", b"HEAD", b"POST"]),
            _bytes_of(_TOKEN, 1, 20).filter(lambda method: method != b"CONNECT"),
        )
    )
    lines = list(draw(_lines(_SPECIAL_REQUEST)))
    lines.insert(draw(st.integers(0, len(lines))), (b"HOST", b"front.example:81"))
    hops = draw(_hops) + draw(st.sampled_from([[], [], [b"close"]]))
    if hops:
        lines.append((b"Connection", b", ".join(hops)))
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    first = b"%b %b HTTP/1.1" % (method, draw(targets))
    pieces = draw(_pieces) if framing != "none" else ()
    trailers = draw(_trailers) if framing == "chunked" else ()
    return Message(first, tuple(lines), framing, pieces, trailers)


@st.composite
def answers(draw: st.DrawFn, method: bytes) -> Message:
    """An answer that fits a request of that method."""
    status = draw(
        st.one_of(st.sampled_from([200, 200, 204, 206, 301, 304, 404, 503]), st.integers(200, 599))
    )
    lines = list(draw(_lines(_SPECIAL_ANSWER)))
    hops = draw(_hops)
    bare = method == b"HEAD" or status in (204, 304)
    framing = "none" if bare else draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "close":
        hops.append(b"close")
    if hops:
        lines.insert(draw(st.integers(0, len(lines))), (b"connection", b", ".join(hops)))
    reason = draw(st.sampled_from([b"OK", b"", b"Some Reason", b"\xe9"]))
    length = draw(st.one_of(st.none(), st.integers(0, 10**12))) if bare and status != 204 else None
    trailers = draw(_trailers) if framing == "chunked" else ()
    first = b"HTTP/1.1 %d %b" % (status, reason)
    pieces = () if bare else draw(_pieces)
    return Message(first, tuple(lines), framing, pieces, trailers, length)
