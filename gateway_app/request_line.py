"""Request lines that the parser does not know: invented methods, octets above 0x7f in the target.

A method is any token (RFC 9110 §9.1), but the parser of the server has a list; and targets with
raw UTF-8 in them are wrong by RFC 3986 and common all the same. Both go on as they came: the parser
is shown a plain line of the same length of target, and the true one is kept beside it.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_LISTED = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"})
_LONGEST_METHOD = 64
_TOKEN = rb"[!#$%%&'*+.^_`|~0-9A-Za-z-]{1,%d}" % _LONGEST_METHOD
_LINE = re.compile(rb"(%b) (/[^\x00-\x20\x7f]*) (HTTP/1\.[01]\r\n)" % _TOKEN)
_BEGUN = re.compile(rb"%b(?: (?:/[^\x00-\x20\x7f]*(?: [HTP/1.0]{0,8}\r?)?)?)?" % _TOKEN)
_HIGH = re.compile(rb"[\x80-\xff]")


class TrueLine(NamedTuple):
    """What the client sent where the parser was shown something else."""

    method: str
    target: bytes

    def amend(self, scope: dict[str, object]) -> None:
        """Put it where ASGI has it."""
        path, _, query = self.target.partition(b"?")
        scope["method"] = self.method
        scope["raw_path"], scope["query_string"] = path, query
        scope["path"] = unquote_to_bytes(path).decode("utf-8", "replace")


class RequestLine:
    """Looks at the bytes with which a request begins.

    A line that comes in pieces is held back, up to `limit` bytes, as long as it can become a
    request line. Further requests in the same bytes (pipelined ones) are for the parser alone.
    """

    __slots__ = ("_limit", "held", "true")

    def __init__(self, limit: int) -> None:
        self._limit = limit + _LONGEST_METHOD
        self.held = b""
        self.true: TrueLine | None = None

    def take(self, data: bytes) -> bytes:
        """The bytes for the parser; none while the line is not complete."""
        if self.held:
            data, self.held = self.held + data, b""
        self.true = None
        if data[:1] in (b"\r", b"\n"):
            data = data.lstrip(b"\r\n")  # empty lines before a request mean nothing (RFC 9112 §2.2)
        end = data.find(b"\n")
        if end < 0:
            if len(data) <= self._limit and _BEGUN.fullmatch(data) is not None:
                self.held = data
                return b""
            return data
        line = data[: end + 1]
        if line.isascii() and line[: line.find(b" ")] in _LISTED:
            return data
        match = _LINE.fullmatch(line)
        if match is None or match[1] == b"CONNECT":
            return data
        self.true = TrueLine(match[1].decode("ascii"), match[2])
        return b"POST %b %b%b" % (_HIGH.sub(b"x", match[2]), match[3], data[end + 1 :])
