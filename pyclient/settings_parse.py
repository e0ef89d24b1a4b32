"""Turns the text of a setting into its value; each parser raises ValueError with what it expects.

A parser's message completes the sentence "NAME: expected …"; `settings.load` adds the name and
what came, so that no parser ever sees (or prints) whether its value is a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from .durability import Durability

Network = IPv4Network | IPv6Network
Parser = Callable[[str], object]

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h)?")
_SIZE = re.compile(r"(\d+)\s*([A-Za-z]*)")
_SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS = {"": 0, "b": 0, "k": 10, "kib": 10, "m": 20, "mib": 20, "g": 30, "gib": 30}
_DECIMAL = {"kb": 1000, "mb": 1000**2, "gb": 1000**3}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})
_REDIS_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "embedded",
)


def text(value: str) -> str:
    """Printable text, taken as it is."""
    if not value.isprintable():
        raise ValueError("printable text")
    return value


def word(pattern: str, expected: str) -> Parser:
    """Text that matches `pattern` as a whole."""
    regex = re.compile(pattern)

    def parse(value: str) -> str:
        if regex.fullmatch(value) is None:
            raise ValueError(expected)
        return value

    return parse


def choice(*allowed: str) -> Parser:
    """One of `allowed`."""
    expected = "one of " + ", ".join(allowed)

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(expected)
        return value

    return parse


def durability(value: str) -> str:
    """What a server must keep of what it acknowledged."""
    return str(Durability.parse(value))


def integer(low: int, high: int) -> Parser:
    """A whole number in decimal digits; no sign, hex, underscore or exponent."""
    expected = f"a whole number from {low} to {high}"

    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise ValueError(expected)
        number = int(value)
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return parse


def seconds(low: float, high: float) -> Parser:
    """A duration: a decimal number of seconds, or a number with `ms`, `s`, `m` or `h`."""
    expected = f"seconds from {low:g} to {high:.10g} (or with a unit: 500ms, 15s, 5m)"

    def parse(value: str) -> float:
        match = _DURATION.fullmatch(value)
        if match is None:
            raise ValueError(expected)
        number = float(match[1]) * _SECONDS[match[2]]
        if not (math.isfinite(number) and low <= number <= high):
            raise ValueError(expected)
        return number

    return parse


def step(value: str) -> float | None:
    """`strict` (None), or the seconds of waiting that make up for one level."""
    if value == "strict":
        return None
    try:
        return float(str(seconds(0, 86400)(value)))
    except ValueError as error:
        raise ValueError(f"strict, or {error}") from None


def size(low: int, high: int) -> Parser:
    """Bytes: digits, alone or with B, kB, MB, GB (powers of 1000) or K, KiB, M, MiB, G, GiB."""
    expected = f"bytes from {low} to {high} (also 512KiB, 10MiB, 1GB)"

    def parse(value: str) -> int:
        match = _SIZE.fullmatch(value)
        unit = match[2].lower() if match else ""
        if match is None or len(match[1]) > 15 or (unit not in _UNITS and unit not in _DECIMAL):
            raise ValueError(expected)
        number = int(match[1]) * (_DECIMAL.get(unit) or 1 << _UNITS[unit])
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return parse


def boolean(value: str) -> bool:
    """1, true, yes, on / 0, false, no, off; an empty value is false."""
    folded = value.lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise ValueError("1, true, yes, on or 0, false, no, off")


def names(value: str) -> tuple[str, ...]:
    """A comma list; blanks around the items and empty items are dropped."""
    items = tuple(item for item in (part.strip() for part in value.split(",")) if item)
    if not all(item.isprintable() for item in items):
        raise ValueError("a comma list of printable text")
    return items


def networks(value: str) -> tuple[Network, ...]:
    """A comma list of addresses and networks; `*` stands for every address."""
    found: list[Network] = []
    for item in names(value):
        try:
            if item == "*":
                found += [ip_network("0.0.0.0/0"), ip_network("::/0")]
            else:
                found.append(ip_network(item, strict=False))
        except ValueError:
            raise ValueError("a comma list of addresses, networks (10.0.0.0/8) or *") from None
    return tuple(found)


def web_path(value: str) -> str:
    """An absolute URL path of printable ASCII without query, fragment or empty segments."""
    if re.fullmatch(r"/[\x21\x22\x24-\x3e\x40-\x7e]*", value) is None or "//" in value:
        raise ValueError("a path that begins with one /, without ? and #")
    return value


def http_url(value: str) -> str:
    """`http(s)://host[:port][/prefix]`; credentials, query and fragment are refused."""
    expected = "http://host[:port][/prefix] or https://…, without credentials, ? and #"
    try:
        parts = urlsplit(value)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(expected) from None
    clean = re.fullmatch(r"[\x21-\x7e]+", value) is not None and not set('\\?#"<>^`{|}@') & set(
        value
    )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok or not clean:
        raise ValueError(expected)
    return value


def pem_file(value: str) -> str:
    """The path of a readable PEM file of certificates; it is read and checked now."""
    import ssl

    try:
        ssl.create_default_context(cafile=value)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        why = "is no such file" if isinstance(error, FileNotFoundError) else "can't be used"
        raise ValueError(f"the path of a PEM file of certificates (this {why})") from None
    return value


def redis_url(value: str) -> str:
    """An address of Redis, Valkey, Sentinel, Cluster, or of the embedded server."""
    scheme, sep, _ = value.partition("://")
    if not sep or scheme not in _REDIS_SCHEMES or not value.isprintable():
        raise ValueError(
            "redis://, rediss://, unix://, redis+sentinel://, redis+cluster:// or embedded://[DIR]"
        )
    return value
