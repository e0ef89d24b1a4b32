"""What only an operator reads: which queues there are, and what their dead letters say."""

from __future__ import annotations

import re
import struct
from typing import Any, NamedTuple

from pyclient.connection import Connection, parse_address
from pyclient.errors import ConfigError
from pyclient.keys import Keys, check_name

_SCANNED = 1000
_HEAD = struct.Struct(">BBBBB7sII3s")
_READ = 4096  # reason and header of a letter; never its body
EPOCH_2025_MS = 1_735_689_600_000


class Letter(NamedTuple):
    """A dead task: when it was buried, and what it was."""

    id: str
    dead_ms: int
    route: str
    tenant: str
    level: int
    attempts: int
    reason: str


async def queue_names(conn: Connection, url: str, prefix: str) -> list[str]:
    """All queues that have settings or have been used. Raises ConfigError on a Cluster, whose
    keys no single node can list."""
    if parse_address(url).kind == "cluster":
        raise ConfigError(
            "the queues of a Cluster can't be listed from one node; name one: "
            "peakshaver queue show NAME"
        )
    pattern = re.compile(
        rb"%s:\{([^{}]+)\}:clock" % re.escape(check_name("prefix", prefix).encode())
    )
    names: set[str] = set()
    cursor = b"0"
    while True:
        match = f"{prefix}:{{*}}:clock"
        reply = await conn.command("SCAN", cursor, "MATCH", match, "COUNT", _SCANNED)
        cursor = reply[0]
        names.update(found[1].decode() for key in reply[1] if (found := pattern.fullmatch(key)))
        if cursor == b"0":
            return sorted(names)


async def is_known(conn: Connection, keys: Keys) -> bool:
    """Whether the queue has ever been used or set."""
    return bool(await conn.command("EXISTS", keys.base + b"clock")) or bool(
        await conn.command("EXISTS", keys.base + b"conf")
    )


async def dead_letters(conn: Connection, keys: Keys, limit: int) -> list[Letter]:
    """The newest first. One whose text has just gone is left out."""
    flat = await conn.command("ZREVRANGE", keys.base + b"dead", "0", str(limit - 1), "WITHSCORES")
    letters = []
    for raw, score in _pairs(flat):
        text = await conn.command("GETRANGE", keys.base + b"dead:" + raw, "0", str(_READ - 1))
        if text:
            letters.append(_letter(raw.decode(), int(float(score)) + EPOCH_2025_MS, text))
    return letters


def _pairs(reply: list[Any]) -> list[tuple[bytes, Any]]:
    """RESP3 nests member and score, RESP2 does not."""
    flat = [x for item in reply for x in (item if isinstance(item, list) else [item])]
    return list(zip(flat[::2], flat[1::2], strict=True))


def _letter(task_id: str, dead_ms: int, text: bytes) -> Letter:
    """Reason (2 bytes of length), then the header of lua/lib/task.lua."""
    length = int.from_bytes(text[:2], "big")
    reason, header = text[2 : 2 + length].decode("utf-8", "replace"), text[2 + length :]
    if len(header) < _HEAD.size:
        return Letter(task_id, dead_ms, "?", "", -1, 0, reason)
    _, _, level, tries, *_ = _HEAD.unpack_from(header)
    at, words = _HEAD.size, []
    for _ in range(3):
        size = header[at]
        words.append(header[at + 1 : at + 1 + size].decode("utf-8", "replace"))
        at += 1 + size
    _, route, tenant = words
    return Letter(task_id, dead_ms, route, tenant, level, tries, reason)
