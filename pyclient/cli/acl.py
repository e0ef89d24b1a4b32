"""`peakshaver acl`: least-privilege users of Redis for each role, worked out from the scripts.

Redis asks for the permissions of the caller inside a script too, so a role may run what its
scripts call, on keys of the prefix, and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from typing import NamedTuple

from pyclient.commands import scripts
from pyclient.errors import ConfigError
from pyclient.keys import check_name
from pyclient.settings import load

from .output import OK, print_json

_QUOTED = re.compile(r"'([A-Z]{3,})'")
# Of the words in capitals that stand in a script, those that are commands.
_COMMANDS = set(
    """DEL EXISTS GET HDEL HEXISTS HGET HGETALL HINCRBY HLEN HMGET HRANDFIELD HSET INCRBY LLEN
    LPOP LPUSH LRANGE LTRIM MGET PEXPIRE PTTL RPUSH SET SPUBLISH TIME UNLINK XADD XINFO XLEN XRANGE
    XTRIM ZADD ZCARD ZCOUNT ZINCRBY ZPOPMIN ZRANGE ZRANGEBYSCORE ZRANK ZREM ZREMRANGEBYRANK
    ZREMRANGEBYSCORE ZREVRANGE ZSCAN ZSCORE""".split()
)


class Role(NamedTuple):
    """What a kind of client does."""

    what: str
    scripts: tuple[str, ...]
    commands: tuple[str, ...]


# Not CONFIG GET, which tells the password of the default user.
_CONNECT = ("ping", "select", "client|setname", "info", "cluster|slots", "asking", "acl|whoami")
# WAIT: in the durability `replicated` an answer counts when replicas have it.
# HGETALL: which routes of a queue with shards are pinned to one.
_CALL = ("evalsha", "script|load", "wait", "hgetall")
_BODIES = ("get", "set", "unlink")
_GATEWAY = "admit attach cancel configure fetch gauge limit place publish renew sweep".split()
_WORKER = "claim configure gauge publish renew retry sweep".split()
_OPERATOR = "cancel configure fetch gauge revive sweep".split()
# What doctor reads. ACL DRYRUN tells what a user may; it runs nothing and shows no password.
_LOOKS = (
    *("scan", "hscan", "zscan", "type", "pttl", "exists", "get", "hlen", "zcard", "hgetall"),
    *("zrange", "zrevrange", "lrange", "getrange", "multi", "exec", "time", "script|exists"),
    *("acl|dryrun", "cluster|nodes", "cluster|info"),
)
ROLES = {
    "gateway": Role(
        "puts work in line and waits for it: the gateway, `Queue`, limiters, middleware",
        tuple(_GATEWAY),
        (*_CALL, *_BODIES, "xread", "xtrim"),
    ),
    "worker": Role(
        "leases work and answers it", tuple(_WORKER), (*_CALL, *_BODIES, "blpop", "ssubscribe")
    ),
    "operator": Role(
        "peakshaver queue, dead and doctor",
        tuple(_OPERATOR),
        (*_CALL, *_LOOKS),
    ),
    "loader": Role("peakshaver scripts load", (), ("script|load", "script|exists")),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Which role, and how its user is called."""
    parser.add_argument("role", choices=sorted(ROLES), help="whose user")
    parser.add_argument("--user", help="its name (peak-ROLE)")
    parser.add_argument("--prefix", help="first part of every key (default: PEAK_PREFIX)")
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read its password, and print the SHA-256 of it; else the line holds PASSWORD",
    )


def run(args: argparse.Namespace) -> int:
    """Print the command that makes the user."""
    prefix = check_name("prefix", args.prefix or load().prefix)
    user = check_name("user", args.user or f"peak-{args.role}")
    given = rules(args.role, prefix)
    words = ["ACL", "SETUSER", user, *given[:3], _password(args), *given[3:]]
    if args.json:
        print_json({"role": args.role, "user": user, "rules": words[3:], "command": words})
    else:
        print(" ".join(words))
        hint = "feed it to redis-cli; CONFIG REWRITE or ACL SAVE keeps it"
        print(f"{args.role}: {ROLES[args.role].what}\n{hint}", file=sys.stderr)
    return OK


def _password(args: argparse.Namespace) -> str:
    if not args.password_stdin:
        return ">PASSWORD"
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ConfigError("expected a password on stdin")
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"


def rules(role: str, prefix: str) -> list[str]:
    """The rules of a role, without a password: the words of ACL SETUSER."""
    keys = [f"~{prefix}:*", f"&{prefix}:*"] if ROLES[role].scripts else []
    return [
        "reset",
        "on",
        "resetchannels",
        *keys,
        "-@all",
        *(f"+{name}" for name in sorted(needed(role))),
    ]


def needed(role: str) -> set[str]:
    """All commands of a role, as ACL spells them."""
    return {*_CONNECT, *ROLES[role].commands, *inner_commands(ROLES[role].scripts)}


def inner_commands(names: tuple[str, ...]) -> set[str]:
    """What these scripts call inside, in lower case."""
    texts = (scripts()[name].text.decode() for name in names)
    found = {word for text in texts for word in _QUOTED.findall(text)}
    return {word.lower() for word in found & _COMMANDS}
