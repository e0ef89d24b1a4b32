"""What only an operator reads: which queues there are, and what their dead letters say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from pyclient.connection import Connection
from pyclient.keys import Keys, check_name

from .audit.reading import pairs
from .audit.records import header

_SCANNED = 1000
_READ = 4096  # reason and header of a letter; never its body
EPOCH_2025_MS = 1_735_689_600_000
QUEUE_KEY = re.compile(rb"[^{}]+:\{(?P<queue>[^{}]+)\}:(?P<name>.+)", re.DOTALL)


class Letter(NamedTuple):
    """A dead task: when it was buried, and what it was."""

    id: str
    dead_ms: int
    route: str
    tenant: str
    level: int
    attempts: int
    reason: str


async def queue_names(conn: Connection, prefix: str) -> list[str]:
    """All queues that have settings or have been used."""
    names = set()
    async for key in scan(conn, f"{check_name('prefix', prefix)}:{{*}}:clock"):
        found = QUEUE_KEY.fullmatch(key)
        if found:
            names.add(found["queue"].decode())
    return sorted(names)


async def scan(conn: Connection, pattern: str, *, calls: int = 0) -> AsyncIterator[bytes]:
    """Keys of a pattern at all primaries, in small steps; `calls` bounds those at each (0: to the
    end)."""
    for home in await conn.homes():
        async for key in _scan_one(conn, pattern, home, calls):
            yield key


async def _scan_one(conn: Connection, pattern: str, at: bytes, calls: int) -> AsyncIterator[bytes]:
    cursor, made = b"0", 0
    while True:
        reply = await conn.command("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED, at=at)
        for key in reply[1]:
            yield key
        cursor, made = reply[0], made + 1
        if cursor == b"0" or made == calls:
            return


async def is_known(conn: Connection, keys: Keys) -> bool:
    """Whether the queue has ever been used or set."""
    return bool(await conn.command("EXISTS", keys.base + b"clock")) or bool(
        await conn.command("EXISTS", keys.base + b"conf")
    )


async def dead_letters(conn: Connection, keys: Keys, limit: int) -> list[Letter]:
    """The newest first. One whose text has just gone is left out."""
    flat = await conn.command("ZREVRANGE", keys.base + b"dead", "0", str(limit - 1), "WITHSCORES")
    letters = []
    for raw, score in pairs(flat):
        text = await conn.command("GETRANGE", keys.base + b"dead:" + raw, "0", str(_READ - 1))
        if text:
            letters.append(_letter(raw.decode(), int(float(score)) + EPOCH_2025_MS, text))
    return letters


def _letter(task_id: str, dead_ms: int, text: bytes) -> Letter:
    """Reason (2 bytes of length), then the header of the task."""
    length = int.from_bytes(text[:2], "big")
    reason = text[2 : 2 + length].decode("utf-8", "replace")
    try:
        was = header(text[2 + length :])
    except ValueError:
        return Letter(task_id, dead_ms, "?", "", -1, 0, reason)
    return Letter(task_id, dead_ms, was.route, was.tenant, was.level, was.attempts, reason)
