"""What `scripts export` writes beside the bundles: the contract of each script as data.

Made from the headers alone (the grammar is in CONTRIBUTING.md), so a client in any language
can check its arguments against it. `lua/README.md` tells the meaning.
"""

from __future__ import annotations

import re
from typing import Any

from pyclient.errors import ConfigError
from pyclient.scripts import Header, Script

FORMAT = 1
CALL = "EVALSHA <sha1> 1 <prefix>:{<queue>}: <args in the order of the list>"
TYPES = {
    "caller": "1..64 characters of A-Z a-z 0-9 _ . ~ -",
    "id": "22 characters of A-Z a-z 0-9 _ -",
    "name": "1..64 characters of A-Z a-z 0-9 _ . ~ / % @ + -",
    "int": "decimal digits, no sign, no space",
    "level": "one digit, with + behind it where what the claim does not get may stand",
    "word": "one of `words`",
    "stream-id": "an id of a Redis stream, or 0",
    "list": "an int `min`..`max`, then so many times the arguments of `each`",
    "groups": "`min`..`max` times the arguments of `each`, to the end",
}
_FLAGS = {"write": ["allow-oom"], "grow": [], "read": ["no-writes"]}
_INT = re.compile(r"int (\d+)\.\.(\d+)")
_LIST = re.compile(r"int (\d+)\.\.(\d+), then ([\w ]+) each")
_GROUPS = re.compile(r"groups (\d+)\.\.(\d+) of ([\w ]+)")
_WORD = re.compile(r"word ([\w|]+)")


def manifest(scripts: dict[str, Script]) -> dict[str, Any]:
    """The whole file."""
    return {
        "format": FORMAT,
        "call": CALL,
        "types": TYPES,
        "scripts": [entry(script) for script in scripts.values()],
    }


def entry(script: Script) -> dict[str, Any]:
    """What is known of one script."""
    head = script.header
    return {
        "name": script.name,
        "file": f"{script.name}.lua",
        "sha1": script.sha,
        "summary": head.summary,
        "kind": head.kind,
        "flags": _FLAGS[head.kind],
        "keys": [_key(row) for row in head.keys],
        "prefixes": [_key(row) for row in head.prefixes],
        "args": [argument(script.name, name, rule) for name, rule in head.args],
        "returns": _returns(head),
        "words": list(head.words),
        "errors": list(head.errors),
        "replay": head.replay,
        "cost": head.cost,
    }


def _key(row: tuple[str, str, str]) -> dict[str, str]:
    name, kind, doc = row
    return {"name": name, "type": kind, "doc": doc}


def _returns(head: Header) -> list[dict[str, Any]]:
    found = []
    for status, fields in head.returns:
        parts = [part.partition(":") for part in fields.split()]
        found.append(
            {"status": status, "fields": [{"name": name, "type": kind} for name, _, kind in parts]}
        )
    return found


def argument(script: str, name: str, rule: str) -> dict[str, Any]:
    """One `@arg` line as data. Raises ConfigError for a rule outside the grammar."""
    if match := _LIST.fullmatch(rule):
        return {"name": name, "type": "list", **_range(match), "each": match[3].split()}
    if match := _GROUPS.fullmatch(rule):
        return {"name": name, "type": "groups", **_range(match), "each": match[3].split()}
    if match := _INT.fullmatch(rule):
        return {"name": name, "type": "int", **_range(match)}
    if match := _WORD.fullmatch(rule):
        return {"name": name, "type": "word", "words": match[1].split("|")}
    if rule in ("id", "level", "name", "stream-id"):
        kind = "caller" if name == "caller" else rule
        return {"name": name, "type": kind}
    raise ConfigError(
        f"lua/cmd/{script}.lua: @arg {name} {rule!r}: expected id, level, name, stream-id, "
        "word A|B, "
        "int A..B, int A..B, then NAMES each, or groups A..B of NAMES"
    )


def _range(match: re.Match[str]) -> dict[str, int]:
    return {"min": int(match[1]), "max": int(match[2])}
