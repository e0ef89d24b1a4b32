"""What a server must be: recent enough for the scripts, and not one that evicts keys."""

from __future__ import annotations

import asyncio
import logging

from .errors import ConfigError
from .link import Link
from .replies import code_of, error_of, is_error, text_of

log = logging.getLogger("pyclient.connection")

_CHECK_S = 2.0
_OLDEST_REDIS = 7
_OLDEST_VALKEY = 8


async def check_server(link: Link, *, replicated: bool = False) -> None:
    """Raise ConfigError where the queue could not be kept safely.

    `replicated`: a failover is expected, so say loudly when it may lose acknowledged writes.
    Where the user may not ask, that is logged and the check is skipped.
    """
    deadline = asyncio.get_running_loop().time() + _CHECK_S
    info, config = await asyncio.gather(
        link.ask(("INFO",), deadline),
        link.ask(("CONFIG", "GET", "min-replicas-to-write"), deadline),
    )
    facts = _facts(info)
    if facts:
        _check_version(facts)
        _check_policy(facts.get("maxmemory_policy", ""))
    if replicated and not is_error(config):
        pairs = config.values() if isinstance(config, dict) else config[1:2]
        if not any(int(value) for value in pairs):
            log.warning(
                "durability=weak: this server has min-replicas-to-write 0, so a failover "
                "loses what the old primary acknowledges until it is demoted (about 10 s); set 1"
            )


def _facts(info: object) -> dict[str, str]:
    if is_error(info):
        if code_of(info) != "NOPERM":
            raise error_of(info)
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
