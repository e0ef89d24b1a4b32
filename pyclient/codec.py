"""Payloads and results as bytes, and back; the one place that knows msgpack.

A body begins with a byte that says how it travels:

    m   msgpack of a value          r   raw bytes (a proxied request or answer)
    M   msgpack, by reference       R   raw, by reference: the bytes are in a key of their own

A `1` after M or R says that the task has one attempt, so that who reads the bytes may remove them.

What comes back from Redis is not trusted: what it claims to hold is checked before it is decoded.
"""

from __future__ import annotations

from typing import Any

import msgpack

from .errors import BadPayload

MAX_BYTES = 10 << 20
"""The largest body, encoded; a setting of each Queue."""
INLINE_BYTES = 4096
"""Bodies up to this travel through the scripts, larger ones by reference."""
ONCE = b"1"
"""See above."""


def encode(value: object, *, what: str = "payload") -> bytes:
    """`m` and the msgpack of `value`. Raises BadPayload with the reason.

    The message names types, never the value: it may be a secret, and messages are logged.
    """
    try:
        packed = _pack(value)
    except OverflowError:
        raise BadPayload(
            f"{what} of type {type(value).__name__} can't be carried: it holds an integer "
            "outside -2^63 .. 2^64-1; send such a number as a string"
        ) from None
    except UnicodeEncodeError:
        raise BadPayload(
            f"{what} of type {type(value).__name__} can't be carried: it holds a str with a lone "
            "surrogate; send such text as bytes"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadPayload(
            f"{what} of type {type(value).__name__} can't be carried: {_reason(error)}; expected "
            "None, bool, int, float, str, bytes, list, tuple, dict or aware datetime"
        ) from None
    return b"m" + packed


# A packer has a buffer of 256 KB, and to get and free that is most of the cost of a small value.
# One that packs is out of the list, so that neither two threads nor a payload's own methods meet
# in it; one that raised holds half a value, and one that packed much keeps as much: both are left.
_packers: list[msgpack.Packer] = []
_BUFFER_BYTES = 256 << 10


def _pack(value: object) -> bytes:
    try:
        packer = _packers.pop()
    except IndexError:
        packer = msgpack.Packer(use_bin_type=True, datetime=True, buf_size=_BUFFER_BYTES)
    packed: bytes = packer.pack(value)
    if len(packed) < _BUFFER_BYTES:
        _packers.append(packer)
    return packed


def decode(body: bytes, *, what: str = "payload") -> Any:
    """The value of an inline body. Raises BadPayload."""
    tag, data = body[:1], body[1:]
    if tag == b"r":
        return data
    if tag != b"m":
        raise BadPayload(f"{what} begins with {tag!r}: expected a body of this release")
    if len(data) > _SMALL and sum(data.count(byte) for byte in _LONG) > _FEW:
        _check_claims(data, what)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, timestamp=3)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException, RecursionError) as error:
        # OverflowError: a time that no calendar has.
        raise BadPayload(f"{what} can't be decoded: {type(error).__name__} {error}") from None


def _reason(error: Exception) -> str:
    """msgpack quotes the type of what it can't carry, and of some values the value itself."""
    text = str(error)
    if "recursion" in text:
        return "it is nested too deep, or holds itself"
    if "tzinfo" in text:
        return "it holds a datetime without a time zone"
    quoted = text.partition("can not serialize ")[2]
    return f"it holds {quoted.split(' object')[0]}" if quoted else type(error).__name__


# Headers of long arrays and maps. A decoder makes room for what they claim before it reads on, so
# that 21 KB of them, nested, take 67 MB. A few, or 512 bytes of them, do no harm; more are looked
# at first.
_LONG = (b"\xdc", b"\xdd", b"\xde", b"\xdf")
_FEW, _SMALL = 8, 512

# Bytes of the length that follows a first byte: of a string or the like (with what stands between
# length and data), of an array, of a map.
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
_HELD = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def _steps() -> list[int]:
    """By first byte: how long the item is; 0 where it says so itself or holds other items."""
    steps = [1] * 256
    for first in (*range(0x80, 0xA0), *_SIZED, *_HELD):
        steps[first] = 0
    for first in range(0xA0, 0xC0):
        steps[first] = 1 + (first & 31)
    steps[0xCA:0xD9] = [5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18]
    return steps


_STEPS = _steps()


def _check_claims(data: bytes, what: str) -> None:
    """Refuse what claims more items, in all that is open, than bytes are left."""
    items, position, size, steps = 1, 0, len(data), _STEPS
    while items and position < size:
        step = steps[data[position]]
        if step:
            position += step
            items -= 1
            continue
        held, step = _long_item(data, position)
        position += step
        items += held - 1
        if items > size - position:
            raise BadPayload(f"{what} can't be decoded: it claims more than it holds")


def _long_item(data: bytes, position: int) -> tuple[int, int]:
    """(items that it holds, bytes to go on) for an item that says itself how long it is."""
    first = data[position]
    if first < 0x90:
        return (first & 15) * 2, 1
    if first < 0xA0:
        return first & 15, 1
    width, more = _HELD.get(first) or _SIZED[first]
    length = int.from_bytes(data[position + 1 : position + 1 + width])
    if first in _HELD:
        return length * more, 1 + width
    return 0, 1 + width + more + length
