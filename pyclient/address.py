"""Where Redis is: parses the addresses that users write.

    redis://[[user]:password@]host[:port][/db]      rediss:// with TLS
    unix://[[user]:password@]/path/of.sock[?db=1]
    redis+sentinel://host[:port],host[:port]/service     rediss+sentinel://
    redis+cluster://host[:port],host[:port]              rediss+cluster://
    embedded://   embedded://DIR

Options after `?` have redis-py's names: db, protocol, client_name, username, password,
socket_connect_timeout, ssl_*; Sentinel also takes sentinel_username and sentinel_password.
One is our own, and embedded servers take it too: durability (see `durability.py`).
An option that has no meaning here is refused rather than ignored.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from .durability import Durability
from .errors import ConfigError

Kind = Literal["single", "sentinel", "cluster", "embedded"]
RedisParse = Callable[[str], Mapping[str, Any]]

EXPECTED = (
    "redis://host:6379/0, rediss://…, unix:///path/of.sock, redis+sentinel://h1,h2/service, "
    "redis+cluster://h1,h2, embedded:// or embedded://DIR"
)
_ENCODE = "a password with / ? # @ : or % in it must be percent-encoded"
_SCHEME = re.compile(r"^(redis|rediss|unix|rediss?\+(?:sentinel|cluster)|embedded)://")
_SECRET = re.compile(r"(?<=//).*@|((?:^|(?<=[?&]))\w*password=)[^&]*")
_COMMON = {"db", "protocol", "client_name", "username", "password"}
_COMMON |= {"socket_connect_timeout", "durability"}
_TLS = {
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_ca_data",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_check_hostname",
}
_SENTINEL = {"sentinel_username", "sentinel_password"}
_BUILT = {"host", "port", "path", "connection_class"}
_REQUIRE = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class Endpoint(NamedTuple):
    """One server: host and port, or the path of a Unix socket."""

    host: str
    port: int = 6379
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A parsed address. Its text never shows a password."""

    kind: Kind
    endpoints: tuple[Endpoint, ...] = ()
    service: str = ""
    directory: str = ""
    db: int = 0
    protocol: int = 2
    client_name: str = ""
    connect_timeout: float = 2.0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    durability: Durability = field(default_factory=Durability)


def redact(url: str) -> str:
    """The address without user, password or anything named password."""
    return _SECRET.sub(lambda m: f"{m.group(1)}***" if m.group(1) else "***@", url)


def parse(url: str, redis_parse: RedisParse) -> Address:
    """Parse `url`; `redis_parse` is redis-py's parser of plain addresses.

    Raises ConfigError, which quotes the address without its password.
    """
    match = _SCHEME.match(url)
    if not match:
        raise ConfigError(f"{redact(url)!r} is no address of Redis: expected {EXPECTED}")
    scheme = match.group(1)
    if scheme == "embedded":
        return _embedded(url)
    try:
        return _parse(url, scheme, redis_parse)
    except (ValueError, OSError) as error:
        raise ConfigError(f"address {redact(url)!r}: {redact(str(error))}") from None


def _embedded(url: str) -> Address:
    directory, _, query = url[len("embedded://") :].partition("?")
    name, _, text = query.partition("=")
    if query and name != "durability":
        raise ConfigError(f"address {redact(url)!r}: embedded:// takes no option but durability")
    try:
        demand = _durability(text)
    except ValueError as error:
        raise ConfigError(f"address {redact(url)!r}: {error}") from None
    return Address(kind="embedded", directory=unquote(directory), durability=demand)


def _parse(url: str, scheme: str, redis_parse: RedisParse) -> Address:
    plain, _, flavour = scheme.partition("+")
    rest, _, query = url[len(scheme) + 3 :].partition("?")
    netloc, slash, path = rest.partition("/")
    who, at, hosts = netloc.rpartition("@")
    names = hosts.split(",") if flavour else [hosts]
    tail = f"?{query}" if query else ""
    inner = "" if flavour == "sentinel" else slash + path
    if flavour and not all(names):
        raise ValueError("a host is missing: expected host[:port],host[:port]")
    if plain != "unix" and flavour != "sentinel" and not re.fullmatch(r"/?\d*", slash + path):
        raise ValueError(f"expected a number as database after the host; {_ENCODE}")
    parsed = [_plain(f"{plain}://{who}{at}{name}{inner}{tail}", redis_parse) for name in names]
    options = parsed[0]
    _refuse_unknown(options, plain, flavour)
    if flavour == "cluster" and options.get("db", 0):
        raise ValueError("a Cluster has database 0 only")
    if flavour == "sentinel" and not path.strip("/"):
        raise ValueError("expected the name of the service after the hosts, …/mymaster")
    default_port = 26379 if flavour == "sentinel" else 6379
    return Address(
        kind="sentinel" if flavour == "sentinel" else "cluster" if flavour else "single",
        endpoints=tuple(_endpoint(one, plain, default_port) for one in parsed),
        service=unquote(path.strip("/")) if flavour == "sentinel" else "",
        db=_natural(options, "db", 0),
        protocol=_protocol(options),
        client_name=options.get("client_name", ""),
        connect_timeout=_seconds(options),
        username=options.get("username", ""),
        password=options.get("password", ""),
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        tls=_tls(options) if plain == "rediss" else None,
        durability=_durability(options.get("durability", "")),
    )


def _plain(url: str, redis_parse: RedisParse) -> dict[str, Any]:
    try:
        return dict(redis_parse(url))
    except ValueError as error:
        if str(error).startswith("Invalid value for"):
            raise
        # Its words can quote a piece of a password in which / or : was not encoded.
        raise ValueError(f"expected {EXPECTED}; {_ENCODE}") from None


def _refuse_unknown(options: Mapping[str, Any], plain: str, flavour: str) -> None:
    known = _COMMON | _BUILT
    known |= _TLS if plain == "rediss" else set()
    known |= _SENTINEL if flavour == "sentinel" else set()
    for name in options:
        if name not in known:
            hint = ", ".join(sorted(known - _BUILT))
            raise ValueError(f"option {name!r} has no meaning here; known are {hint}")


def _endpoint(options: Mapping[str, Any], plain: str, default_port: int) -> Endpoint:
    if plain == "unix":
        if not options.get("path"):
            raise ValueError("expected the path of a socket, unix:///run/redis.sock")
        return Endpoint("", 0, options["path"])
    return Endpoint(options.get("host", "localhost"), options.get("port", default_port))


def _natural(options: Mapping[str, Any], name: str, default: int) -> int:
    value = int(options.get(name, default))
    if value < 0:
        raise ValueError(f"{name} is {value}, expected 0 or more")
    return value


def _protocol(options: Mapping[str, Any]) -> int:
    value = _natural(options, "protocol", 2)
    if value not in (2, 3):
        raise ValueError(f"protocol is {value}, expected 2 or 3")
    return value


def _seconds(options: Mapping[str, Any]) -> float:
    value = float(options.get("socket_connect_timeout", 2.0))
    if not 0 < value <= 60:
        raise ValueError(f"socket_connect_timeout is {value}, expected more than 0, at most 60 s")
    return value


def _durability(text: str) -> Durability:
    try:
        return Durability.parse(text)
    except ValueError as error:
        raise ValueError(f"durability is {text[:40]!r}, expected {error}") from None


def _tls(options: Mapping[str, Any]) -> ssl.SSLContext:
    require = options.get("ssl_cert_reqs", "required")
    if require not in _REQUIRE:
        raise ValueError(f"ssl_cert_reqs is {require!r}, expected {', '.join(_REQUIRE)}")
    context = ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"),
        capath=options.get("ssl_ca_path"),
        cadata=options.get("ssl_ca_data"),
    )
    # Order matters: a context that checks names can't be set to CERT_NONE.
    context.check_hostname = require != "none" and options.get("ssl_check_hostname", True)
    context.verify_mode = _REQUIRE[require]
    if options.get("ssl_certfile"):
        context.load_cert_chain(
            options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
        )
    return context
