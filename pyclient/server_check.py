"""What a server must be: recent enough for the scripts, not one that evicts keys, and as durable
as is demanded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from .durability import Durability
from .errors import ConfigError, Unavailable
from .kept import copies_of
from .link import Link
from .replies import code_of, error_of, is_error, text_of

log = logging.getLogger("pyclient.connection")

_CHECK_S = 2.0
_OLDEST_REDIS = 7
_OLDEST_VALKEY = 8
_ANY = Durability()


async def check_server(
    link: Link, demand: Durability = _ANY, *, failover: bool = False, first: bool = True
) -> bool:
    """Raise ConfigError where the queue could not be kept safely, or not as safely as demanded.
    False: it is a replica (a Cluster may be entered by one), of which replicas say nothing.

    `failover`: one is expected, so say loudly when it may lose acknowledged writes. `first`: no
    server was accepted yet; later, replicas may be missing for a while, and WAIT says so. INFO
    tells enough, save for appendfsync: CONFIG GET is asked in the mode aof only, since the users
    of roles may not, and each refusal goes into the server's ACL LOG. Where INFO is forbidden,
    that is logged, or an error where something is demanded.
    """
    deadline = asyncio.get_running_loop().time() + _CHECK_S
    facts = _facts(await link.ask(("INFO",), deadline), demand)
    if facts:
        _check_version(facts)
        _check_policy(facts.get("maxmemory_policy", ""))
    if demand.mode == "aof":
        _check_aof(facts, _settings(await link.ask(("CONFIG", "GET", "appendfsync"), deadline)))
    elif demand.mode == "replicated":
        await _check_wait(link, deadline)
        if facts.get("role") == "slave":
            return False
        _check_replicas(facts, demand, first=first)
        good = int(facts.get("min_slaves_good_slaves", 0))
        copies_of(link).learn(good, asyncio.get_running_loop().time())
    elif failover and facts and not _guards(facts):
        log.warning(
            "durability=weak: this server has min-replicas-to-write 0, so a failover "
            "loses what the old primary acknowledges until it is demoted (about 10 s); set 1"
        )
    return True


def _settings(config: Any) -> dict[str, str]:
    """What CONFIG GET told; nothing where it is forbidden."""
    if is_error(config):
        return {}
    flat = zip(config[::2], config[1::2], strict=True) if isinstance(config, list) else ()
    pairs = config.items() if isinstance(config, dict) else flat
    return {text_of(name): text_of(value) for name, value in pairs}


def _guards(facts: Mapping[str, str]) -> bool:
    """Whether min-replicas-to-write and its max-lag are set: INFO has this line only then."""
    return "min_slaves_good_slaves" in facts


def _check_aof(facts: Mapping[str, str], settings: Mapping[str, str]) -> None:
    """A log on disk, and one that is synced."""
    if facts.get("aof_enabled") != "1":
        raise ConfigError(
            "durability=aof: expected a server with appendonly yes, this one has no: "
            "CONFIG SET appendonly yes, and in its file; or ask for durability=memory"
        )
    if settings.get("appendfsync") == "no":
        raise ConfigError(
            "durability=aof: expected appendfsync everysec or always, came no (a crash of the "
            "machine may lose half a minute): CONFIG SET appendfsync everysec"
        )
    if facts.get("aof_last_write_status", "ok") != "ok":
        log.warning("durability=aof: the last write to the log failed: look at the server's disk")


async def _check_wait(link: Link, deadline: float) -> None:
    reply = await link.ask(("WAIT", 0, 1), deadline)
    if code_of(reply) == "NOPERM":
        raise ConfigError(
            "durability=replicated: expected a user who may call WAIT, this one may not: "
            "ACL SETUSER <user> +wait (`peakshaver acl` prints the whole rule)"
        )


def _check_replicas(facts: Mapping[str, str], demand: Durability, *, first: bool) -> None:
    if facts.get("aof_enabled") != "1":
        raise ConfigError(
            f"durability={demand}: expected appendonly yes on each server, this one has no (a "
            "primary that is restarted comes back empty, and its replicas copy that): "
            "CONFIG SET appendonly yes, and in its file"
        )
    if not _guards(facts):
        raise ConfigError(
            f"durability={demand}: expected min-replicas-to-write 1 or more, came 0 (an old "
            "primary would go on alone after a failover): CONFIG SET min-replicas-to-write 1 on "
            "each server, and min-replicas-max-lag 2"
        )
    count = int(facts.get("connected_slaves", 0))
    if count < demand.replicas and first:
        raise Unavailable(
            f"durability={demand}: expected {demand.replicas} replicas in touch, came {count}: "
            "start the others, or ask for fewer (replicated:N)",
            code="REPLICAS",
        )


def _facts(info: object, demand: Durability) -> dict[str, str]:
    if is_error(info):
        if code_of(info) != "NOPERM":
            raise error_of(info)
        if demand.mode in ("aof", "replicated"):
            raise ConfigError(
                f"durability={demand}: expected a user who may call INFO, to check it; this one "
                "may not: ACL SETUSER <user> +info"
            )
        log.warning("the Redis user may not ask INFO: version and eviction are not checked")
        return {}
    lines = text_of(info).splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def _check_version(facts: dict[str, str]) -> None:
    valkey = facts.get("valkey_version")
    found = valkey or facts.get("redis_version", "")
    name, oldest = ("Valkey", _OLDEST_VALKEY) if valkey else ("Redis", _OLDEST_REDIS)
    major = found.partition(".")[0]
    if not major.isdigit() or int(major) < oldest:
        raise ConfigError(
            f"this server is {name} {found or 'of unknown version'}: "
            f"expected Redis {_OLDEST_REDIS} or Valkey {_OLDEST_VALKEY}, or newer"
        )


def _check_policy(policy: str) -> None:
    if policy not in ("", "noeviction"):
        raise ConfigError(
            f"this server has maxmemory-policy {policy}: when memory is short it would delete "
            "parts of the queue. Expected: CONFIG SET maxmemory-policy noeviction"
        )
