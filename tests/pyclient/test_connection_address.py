"""Addresses: what users may write, and what they are told when it is wrong."""

from __future__ import annotations

import ssl

import pytest

from pyclient.address import Address, Endpoint, redact
from pyclient.connection import parse_address
from pyclient.errors import ConfigError


def test_a_plain_address_has_host_port_and_database() -> None:
    address = parse_address("redis://user:p%40ss@example:7000/3")
    assert address.kind == "single"
    assert address.endpoints == (Endpoint("example", 7000),)
    assert (address.username, address.password, address.db) == ("user", "p@ss", 3)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", ("localhost", 6379, "")),
        ("redis://h", ("h", 6379, "")),
        ("redis://[::1]:7000", ("::1", 7000, "")),
        ("unix:///run/redis.sock", ("", 0, "/run/redis.sock")),
        ("unix://user:pw@/run/r%20s.sock?db=2", ("", 0, "/run/r s.sock")),
        ("redis://h?protocol=3", ("h", 6379, "")),
    ],
)
def test_addresses_of_one_server(url: str, expected: tuple[str, int, str]) -> None:
    assert parse_address(url).endpoints == (Endpoint(*expected),)


def test_sentinels_have_their_own_default_port_and_password() -> None:
    address = parse_address(
        "redis+sentinel://u:pw@h1,h2:5000,[::1]/mymaster?db=4&sentinel_password=other"
    )
    assert address.kind == "sentinel"
    assert address.endpoints == (
        Endpoint("h1", 26379),
        Endpoint("h2", 5000),
        Endpoint("::1", 26379),
    )
    assert (address.service, address.db) == ("mymaster", 4)
    assert (address.password, address.sentinel_password) == ("pw", "other")


def test_a_cluster_has_seeds() -> None:
    address = parse_address("redis+cluster://:pw@h1:7000,h2")
    assert address.kind == "cluster"
    assert address.endpoints == (Endpoint("h1", 7000), Endpoint("h2", 6379))
    assert address.password == "pw"


@pytest.mark.parametrize(
    ("url", "directory"), [("embedded://", ""), ("embedded:///var/x", "/var/x")]
)
def test_embedded_addresses(url: str, directory: str) -> None:
    assert parse_address(url) == Address(kind="embedded", directory=directory)


def test_tls_checks_certificate_and_name_unless_told_otherwise() -> None:
    strict = parse_address("rediss://h").tls
    assert strict is not None
    assert strict.check_hostname
    assert strict.verify_mode == ssl.CERT_REQUIRED
    lax = parse_address("rediss://h?ssl_cert_reqs=none").tls
    assert lax is not None
    assert lax.verify_mode == ssl.CERT_NONE
    named = parse_address("rediss+sentinel://h/s?ssl_check_hostname=false").tls
    assert named is not None
    assert not named.check_hostname
    assert parse_address("redis://h").tls is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "expected redis://"),
        ("http://:secret@h", "expected redis://"),
        ("redis:/h", "expected redis://"),
        ("redis://:secret@h:port", "percent-encoded"),
        ("redis://:sec/secret@h", "percent-encoded"),
        ("redis://:secret@h:70000", "percent-encoded"),
        ("redis://:secret@h?max_connections=4", "'max_connections' has no meaning here"),
        ("redis://:secret@h?ssl_cert_reqs=none", "'ssl_cert_reqs' has no meaning here"),
        ("redis://:secret@h?db=x", "db"),
        ("redis://:secret@h?db=-1", "expected 0 or more"),
        ("redis://:secret@h/later", "expected a number as database"),
        ("redis://:secret@h?protocol=4", "expected 2 or 3"),
        ("redis://:secret@h?socket_connect_timeout=0", "more than 0"),
        ("unix://:secret@", "path of a socket"),
        ("redis+sentinel://:secret@h1,h2", "name of the service"),
        ("redis+cluster://:secret@h1/2", "database 0 only"),
        ("redis+cluster://:secret@h1,,h2", "a host is missing"),
        ("rediss://:secret@h?ssl_cert_reqs=maybe", "expected none, optional, required"),
        ("rediss://:secret@h?ssl_ca_certs=/nowhere", "ssl_ca_certs"),
        ("embedded://x?password=secret", "takes no option"),
    ],
)
def test_a_wrong_address_says_what_was_expected_and_no_password(url: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:p@h/1", "redis://***@h/1"),
        ("redis://h?password=p&db=1", "redis://h?password=***&db=1"),
        ("redis+sentinel://h/s?sentinel_password=p", "redis+sentinel://h/s?sentinel_password=***"),
        ("redis://u:p@ss@h", "redis://***@h"),
        ("redis://h", "redis://h"),
    ],
)
def test_redaction(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_the_text_of_an_address_has_no_password() -> None:
    assert "secret" not in repr(parse_address("redis://u:secret@h"))
