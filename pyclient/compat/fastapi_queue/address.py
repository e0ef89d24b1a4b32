"""The address of Redis out of the client that a program has already.

Only address, credentials and TLS are taken from it; the connection is our own, so neither
`decode_responses` nor its pool or time-outs matter, and a client that blocks does as well as one
that is awaited. Nothing of redis-py (or aioredis) is imported for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from pyclient.errors import ConfigError

_TLS = (
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_ca_data",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_check_hostname",
)


def address_of(client: Any) -> str:
    """The address of a client of redis-py or aioredis (single, Sentinel, Cluster), or of a URL.

    Raises ConfigError where it can't be told.
    """
    if isinstance(client, str):
        return client
    nodes = getattr(client, "nodes_manager", None)
    if nodes is not None:
        options = getattr(client, "connection_kwargs", None) or nodes.connection_kwargs
        hosts = [(node.host, node.port) for node in nodes.startup_nodes.values()]
        return _join("redis+cluster", _tls(options), options, hosts, "")
    pool: Any = getattr(client, "connection_pool", None)
    options = getattr(pool, "connection_kwargs", None)
    if not isinstance(options, Mapping):
        raise ConfigError(
            f"redis is {type(client).__name__}: expected a client of redis-py or aioredis "
            "(redis.asyncio.Redis, redis.Redis, RedisCluster), or an address as text"
        )
    tls = _tls(options, pool)
    manager = getattr(pool, "sentinel_manager", None)
    if manager is not None:
        sentinels = [one.connection_pool.connection_kwargs for one in manager.sentinels]
        hosts = [(one.get("host", "localhost"), one.get("port", 26379)) for one in sentinels]
        more = {"sentinel_username": sentinels[0].get("username")}
        more["sentinel_password"] = sentinels[0].get("password")
        return _join("redis+sentinel", tls, options, hosts, f"/{pool.service_name}", more)
    if options.get("path"):
        login, query = _login(options), _query(options, tls=False)
        return f"unix://{login}{quote(str(options['path']))}{query}"
    hosts = [(options.get("host", "localhost"), options.get("port", 6379))]
    return _join("redis", tls, options, hosts, "")


def _join(
    scheme: str,
    tls: bool,  # noqa: FBT001
    options: Mapping[str, Any],
    hosts: Iterable[tuple[str, int]],
    tail: str,
    more: Mapping[str, Any] | None = None,
) -> str:
    names = ",".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts
    )
    kind, plus, flavour = scheme.partition("+")
    scheme = f"{kind}{'s' if tls else ''}{plus}{flavour}"
    return f"{scheme}://{_login(options)}{names}{tail}{_query(options, tls=tls, more=more)}"


def _tls(options: Mapping[str, Any], pool: Any = None) -> bool:
    """Whether the client speaks TLS: a flag of clusters, else the class of its connections."""
    if "ssl" in options:
        return bool(options["ssl"])
    kind = getattr(pool, "connection_class", None)
    return "SSL" in getattr(kind, "__name__", "")


def _login(options: Mapping[str, Any]) -> str:
    user, password = options.get("username"), options.get("password")
    provider = options.get("credential_provider")
    if provider is not None:
        told = provider.get_credentials()
        user, password = told if len(told) == 2 else (None, told[0])
    if not user and not password:
        return ""
    return f"{_encoded(user)}:{_encoded(password)}@"


def _encoded(text: str | bytes | None) -> str:
    return quote(text or "", safe="")


def _query(options: Mapping[str, Any], *, tls: bool, more: Mapping[str, Any] | None = None) -> str:
    wanted: dict[str, Any] = {"db": options.get("db") or None, **(more or {})}
    if tls:
        wanted |= {name: options.get(name) for name in _TLS}
        required = options.get("ssl_cert_reqs")
        # An enum of the module ssl, a word, or None for what redis-py calls "none".
        wanted["ssl_cert_reqs"] = (
            str(getattr(required, "name", required)).removeprefix("CERT_").lower()
            if "ssl_cert_reqs" in options
            else None
        )
    given = {name: value for name, value in wanted.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
