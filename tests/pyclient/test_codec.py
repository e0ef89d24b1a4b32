"""Payloads as bytes: what travels comes back, what can't is refused with the reason."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import tracemalloc
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyclient.codec import decode, encode
from pyclient.errors import BadPayload

UTC = datetime.UTC


class Pair(NamedTuple):
    left: int
    right: int


class Colour(enum.IntEnum):
    RED = 1


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (1.5, 1.5),
        (math.inf, math.inf),
        ("é\0", "é\0"),
        (b"\xff", b"\xff"),
        ([1, [2]], [1, [2]]),
        ((1, 2), [1, 2]),
        (Pair(1, 2), [1, 2]),
        (Colour.RED, 1),
        ({"a": {1: b"x", None: 2}}, {"a": {1: b"x", None: 2}}),
        (
            datetime.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
            datetime.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        ),
        (bytearray(b"x"), b"x"),
        (nested(500), nested(500)),
    ],
    ids=repr,
)
def test_what_msgpack_can_carry_comes_back(value: object, back: object) -> None:
    assert decode(encode(value)) == back


def test_nan_stays_nan() -> None:
    assert math.isnan(decode(encode(math.nan)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**64, "integer"),
        (-(2**63) - 1, "integer"),
        (2**200, "integer"),
        (10**5000, "integer"),
        ({1, 2}, "set"),
        (object(), "object"),
        ([lambda: 1], "function"),
        (decimal.Decimal("1.5"), "Decimal"),
        (datetime.datetime(2030, 1, 1), "without a time zone"),
        (datetime.date(2030, 1, 1), "date"),
        (1j, "complex"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        (nested(5000), "nested too deep"),
        (nested(100_000), "nested too deep"),
        (Unspeakable(), "Unspeakable"),
        ([Unspeakable()], "Unspeakable"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_it_can_not_carry_is_refused_with_the_reason(value: object, reason: str) -> None:
    with pytest.raises(BadPayload, match=reason) as caught:
        encode(value, what="result")
    assert str(caught.value).startswith(f"result of type {type(value).__name__} can't be carried")
    assert len(str(caught.value)) < 300


def test_what_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(BadPayload, match="holds itself"):
        encode(value)


def test_a_message_never_quotes_the_value() -> None:
    for secret in (["hunter2", object()], {"hunter2": 2**70}, "hunter2\ud800"):
        with pytest.raises(BadPayload) as caught:
            encode(secret)
        assert "hunter2" not in str(caught.value)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 99), inner),
    max_leaves=40,
)


@given(VALUES)
@settings(max_examples=60)
def test_whatever_is_encoded_is_decoded_to_the_same(value: object) -> None:
    assert decode(encode(value)) == value


@given(VALUES)
@settings(max_examples=40)
def test_bytes_that_look_like_long_headers_hurt_nothing(value: object) -> None:
    value = [b"\xdc\xdd\xde\xdf" * 200, value, "\xdc" * 20, {1: [value] * 20}, [[]] * 70_000]
    assert decode(encode(value)) == value


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_junk_is_refused_or_decoded_and_nothing_else(junk: bytes) -> None:
    for body in (junk, b"m" + junk, b"m" + b"\xdd\x00" * 5 + junk):
        try:
            decode(body)
        except BadPayload:
            pass


def test_a_deep_value_with_many_long_headers_is_decoded() -> None:
    value = [b"\xdd" * 20, nested(500)]
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\x00\x00\x40\x00" * 4200,
        b"\xdd\x00\x00\x10\x00" * 800 + b"\xc0" * 5000,
        b"\xdc\xff\xff" * 1000 + b"\xc0" * 66_000,
        b"\xdf\x00\x00\x20\x00" * 900 + b"\xc0" * 9000,
        b"\xdd\xff\xff\xff\xff" * 200,
    ],
    ids=["array32", "fitting", "array16", "map32", "4 Gi items"],
)
def test_headers_that_claim_more_than_there_is_cost_nothing(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadPayload, match="claims more than it holds"):
            decode(b"m" + bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("levels", [1100, 1_000_000])
def test_too_deep_a_body_is_refused(levels: int) -> None:
    with pytest.raises(BadPayload, match="can't be decoded"):
        decode(b"m" + b"\x91" * levels + b"\xc0")


@pytest.mark.parametrize("body", [b"", b"x", b"M", b"R123", b"\x00m"])
def test_a_body_of_another_kind_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload, match="expected a body of this release"):
        decode(body)


@pytest.mark.parametrize("body", [b"m", b"m\xc1", b"m\x93\x01", b"m\x01\x01", b"m\xd9\x05ab"])
def test_a_broken_body_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload, match="answer can't be decoded"):
        decode(body, what="answer")


def test_raw_bodies_are_handed_on_as_they_are() -> None:
    assert decode(b"r\xdd\xff") == b"\xdd\xff"
