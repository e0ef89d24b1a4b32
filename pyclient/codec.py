"""Payloads and results as bytes, and back; the one place that knows msgpack.

A body begins with a byte that says how it travels:

    m   msgpack of a value          r   raw bytes (a proxied request or answer)
    M   msgpack, by reference       R   raw, by reference: the bytes are in a key of their own

What comes back from Redis is not trusted: sizes and depth are checked before it is decoded.
"""

from __future__ import annotations

from typing import Any

import msgpack

from .errors import BadPayload
from .keys import shorten

MAX_BYTES = 10 << 20
"""The largest body, encoded; a setting of each Queue."""
INLINE_BYTES = 4096
"""Bodies up to this travel through the scripts, larger ones by reference."""
DEPTH = 100
"""Nesting that is carried: msgpack would go on to where the C stack ends."""

_INT = "an integer outside -2^63 .. 2^64-1"


def encode(value: object, *, what: str = "payload") -> bytes:
    """`m` and the msgpack of `value`. Raises BadPayload with the reason."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True, datetime=True)
    except OverflowError:
        raise BadPayload(f"{what} {shorten(value)} can't be carried: it holds {_INT}") from None
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise BadPayload(
            f"{what} {shorten(value)} can't be carried: {error}; "
            "expected None, bool, int, float, str, bytes, list, tuple, dict or aware datetime"
        ) from None
    return b"m" + packed


def decode(body: bytes, *, what: str = "payload") -> Any:
    """The value of an inline body. Raises BadPayload."""
    tag, data = body[:1], body[1:]
    if tag == b"r":
        return data
    if tag != b"m":
        raise BadPayload(f"{what} begins with {tag!r}: expected a body of this release")
    if sum(data.count(byte) for byte in _LONG) > _FEW:
        _walk(data, what)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, timestamp=3)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise BadPayload(f"{what} can't be decoded: {type(error).__name__} {error}") from None


# Headers of long arrays and maps. A decoder makes room for what they claim before it reads on, so
# that 21 KB of them, nested, take 67 MB. A few do no harm; more are looked at first.
_LONG = (b"\xdc", b"\xdd", b"\xde", b"\xdf")
_FEW = 8

# Fixed sizes by first byte, headers of a length field of 1, 2 or 4 bytes apart.
_FIXED = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5}
_FIXED |= {0xD3: 9, 0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
_HELD = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def _walk(data: bytes, what: str) -> None:
    """Refuse what is nested too deep, or claims more items than there are bytes."""
    position, left = 0, [1]
    while left:
        if not left[-1]:
            left.pop()
            continue
        left[-1] -= 1
        if position >= len(data):
            raise BadPayload(f"{what} can't be decoded: it ends too early")
        items, step = _item(data, position)
        position += step
        if items > len(data) - position:
            raise BadPayload(f"{what} can't be decoded: it claims more than it holds")
        if items:
            left.append(items)
        if len(left) > DEPTH:
            raise BadPayload(f"{what} is nested deeper than {DEPTH} levels")


def _item(data: bytes, position: int) -> tuple[int, int]:
    """(items that follow, bytes to go on) for the msgpack item that starts here."""
    byte = data[position]
    if 0x80 <= byte <= 0x8F:
        return (byte & 15) * 2, 1
    if 0x90 <= byte <= 0x9F:
        return byte & 15, 1
    if 0xA0 <= byte <= 0xBF:
        return 0, 1 + (byte & 31)
    if byte in _HELD:
        width, factor = _HELD[byte]
        return int.from_bytes(data[position + 1 : position + 1 + width]) * factor, 1 + width
    if byte in _SIZED:
        width, more = _SIZED[byte]
        size = int.from_bytes(data[position + 1 : position + 1 + width])
        return 0, 1 + width + more + size
    return 0, _FIXED.get(byte, 1)
