"""Header rules: what is dropped, what is ours, and that all else travels byte for byte."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyclient.http import headers
from pyclient.http.headers import HOP_BY_HOP, RequestRules, response_headers

Pairs = list[tuple[bytes, bytes]]

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-!#$%&'*+.^`|~", min_size=1, max_size=12)
NAMES = TOKENS.map(str.encode).filter(lambda name: name not in headers._SPECIAL)
VALUES = st.binary(max_size=40).map(
    lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F).strip(b" \t")
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=20)


def sent(
    pairs: Pairs, *, peer: str = "192.0.2.7", trusted: str = "", scheme: str = "http"
) -> Pairs:
    rules = RequestRules([ip_network(trusted)] if trusted else [])
    block, _, _ = rules.head(pairs, peer=peer, scheme=scheme)
    lines = block.split(b"\r\n")
    assert lines.pop() == b""
    found = [line.partition(b": ") for line in lines]
    assert all(separator for _, separator, _ in found)
    return [(name, value) for name, _, value in found]


def values(pairs: Pairs, name: bytes) -> list[bytes]:
    return [value for key, value in pairs if key == name]


@given(PAIRS)
def test_a_request_keeps_value_order_and_repetition_of_all_other_headers(pairs: Pairs) -> None:
    out = sent(pairs)
    assert out[: len(pairs)] == pairs
    ours = [name for name, _ in out[len(pairs) :]]
    assert ours == [b"x-forwarded-for", b"x-forwarded-proto", b"via"]


@given(PAIRS)
def test_an_answer_keeps_value_order_and_repetition_of_all_other_headers(pairs: Pairs) -> None:
    pairs = [pair for pair in pairs if pair[0] not in (b"date", b"server")]
    out = response_headers(pairs, status=200, method="GET", length=3)
    assert out[: len(pairs)] == pairs
    assert [name for name, _ in out[len(pairs) :]] == [b"date", b"server", b"content-length"]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP | {b"expect", b"content-length"}))
def test_hop_by_hop_headers_end_at_the_gateway(name: bytes) -> None:
    assert values(sent([(name, b"5"), (b"x-a", b"1")]), name) == []
    if name in HOP_BY_HOP:
        assert (
            values(response_headers([(name, b"5")], status=200, method="GET", length=0), name) == []
        )


def test_what_connection_names_is_dropped_but_not_what_is_ours() -> None:
    pairs = [
        (b"connection", b"close, X-Secret , authorization"),
        (b"x-secret", b"1"),
        (b"authorization", b"Bearer x"),
        (b"cookie", b"a=b"),
        (b"connection", b"x-forwarded-for, via"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"host", b"shop.example"),
    ]
    out = sent(pairs)
    assert [name for name, _ in out] == [
        b"cookie",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"via",
    ]
    assert values(out, b"x-forwarded-for") == [b"192.0.2.7"]


def test_what_connection_names_in_an_answer_is_dropped_and_framing_stays_ours() -> None:
    pairs = [
        (b"Connection", b"X-A, Content-Length, Date"),
        (b"X-A", b"1"),
        (b"Content-Length", b"99"),
    ]
    out = response_headers(pairs, status=200, method="GET", length=3)
    assert [name for name, _ in out] == [b"date", b"server", b"content-length"]
    assert values(out, b"content-length") == [b"3"]


def test_the_peer_is_appended_to_x_forwarded_for() -> None:
    pairs = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-a", b"1"), (b"x-forwarded-for", b"::1, b")]
    assert values(sent(pairs), b"x-forwarded-for") == [b"203.0.113.9, ::1, b, 192.0.2.7"]
    assert values(sent([]), b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(sent([], peer=""), b"x-forwarded-for") == [b"unknown"]


CLAIMS: Pairs = [
    (b"host", b"gateway.example"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"shop.example"),
    (b"x-real-ip", b"203.0.113.9"),
    (b"forwarded", b"for=203.0.113.9"),
    (b"x-forwarded-port", b"443"),
]


def test_the_claims_of_an_untrusted_peer_are_replaced() -> None:
    out = sent(CLAIMS)
    assert values(out, b"x-forwarded-proto") == [b"http"]
    assert values(out, b"x-forwarded-host") == [b"gateway.example"]
    assert not values(out, b"x-real-ip")
    assert not values(out, b"forwarded")
    assert not values(out, b"x-forwarded-port")


@pytest.mark.parametrize(
    ("peer", "network", "node"),
    [
        ("192.0.2.7", "192.0.2.0/24", b"192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.0/24", b'"[::ffff:192.0.2.7]"'),
        ("2001:db8::1", "2001:db8::/32", b'"[2001:db8::1]"'),
    ],
)
def test_the_claims_of_a_trusted_peer_are_passed_on(peer: str, network: str, node: bytes) -> None:
    out = sent(CLAIMS, peer=peer, trusted=network)
    assert values(out, b"x-forwarded-proto") == [b"https"]
    assert values(out, b"x-forwarded-host") == [b"shop.example"]
    assert values(out, b"x-real-ip") == [b"203.0.113.9"]
    assert values(out, b"x-forwarded-port") == [b"443"]
    assert values(out, b"forwarded") == [b"for=203.0.113.9, for=" + node + b";proto=http"]


@pytest.mark.parametrize("peer", ["198.51.100.1", "not an address", "", "::1"])
def test_a_peer_outside_the_trusted_networks_is_not_believed(peer: str) -> None:
    assert not RequestRules([ip_network("192.0.2.0/24")]).trusts(peer)


@pytest.mark.parametrize(
    "name", [b"x_forwarded_for", b"x_real_ip", b"content_length", b"forwarded"]
)
def test_twins_that_a_cgi_would_mix_up_are_dropped(name: bytes) -> None:
    assert values(sent([(name, b"1"), (b"my_header", b"2")]), name) == []
    assert values(sent([(name, b"1"), (b"my_header", b"2")]), b"my_header") == [b"2"]


def test_via_is_added_to_what_came() -> None:
    assert values(sent([(b"via", b"1.0 fred")]), b"via") == [b"1.0 fred", b"1.1 peakshaver"]


def test_the_head_tells_the_host_and_whether_a_body_was_announced() -> None:
    rules = RequestRules()
    assert rules.head([(b"host", b"a")], peer="p", scheme="http")[1:] == (b"a", False)
    assert rules.head([(b"content-length", b"0")], peer="p", scheme="http")[1:] == (b"", True)
    assert rules.head([(b"transfer-encoding", b"chunked")], peer="p", scheme="http")[2]


def test_an_answer_has_one_date_and_one_server() -> None:
    own = response_headers([], status=200, method="GET", length=0)
    assert len(values(own, b"date")) == len(values(own, b"server")) == 1
    assert values(own, b"date")[0].endswith(b" GMT")
    twice = [(b"Date", b"one"), (b"Server", b"s1"), (b"Date", b"two"), (b"Server", b"s2")]
    out = response_headers(twice, status=200, method="GET", length=0)
    assert (values(out, b"date"), values(out, b"server")) == ([b"one"], [b"s1"])


@pytest.mark.parametrize(
    ("status", "method", "length", "said", "expected"),
    [
        (200, "GET", 5, b"99", b"5"),
        (200, "GET", 0, b"", b"0"),
        (200, "HEAD", 0, b"12345", b"12345"),
        (200, "HEAD", 0, b"", None),
        (304, "GET", 0, b"77", b"77"),
        (304, "GET", 0, b"", None),
        (204, "GET", 0, b"0", None),
        (204, "HEAD", 0, b"5", None),
        (200, "GET", None, b"500", b"500"),
        (200, "GET", None, b"", None),
        (200, "HEAD", 0, b"+5", None),
        (200, "HEAD", 0, b"9" * 30, None),
    ],
)
def test_framing_fits_what_is_sent(
    status: int, method: str, length: int | None, said: bytes, expected: bytes | None
) -> None:
    pairs = [(b"a", b"1"), (b"Content-Length", said), (b"Content-Length", b"7"), (b"b", b"2")]
    out = response_headers(
        pairs if said else pairs[:1], status=status, method=method, length=length
    )
    assert values(out, b"content-length") == ([] if expected is None else [expected])
    if said and expected is not None:
        assert [name for name, _ in out][:3] == [b"a", b"content-length", b"b"]
