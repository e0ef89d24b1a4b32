"""Reads the keys of a live queue without standing in its way.

What is small is read in one transaction, so that it shows one instant. What is large is walked in
small pieces while the queue goes on; `Snapshot.slack` says how much went on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pyclient.connection import Connection
from pyclient.errors import ScriptError
from pyclient.replies import is_error

from .invariants import KINDS
from .records import counters
from .snapshot import Snapshot, text

SMALL = 2_000  # entries of all keys together that one transaction reads
PIECE = 250  # entries of one step of a walk
AT_ONCE = 256  # calls in flight
MOST = 200_000  # entries of one key that are read at all
MOST_KEYS = 50_000  # short-lived keys that are looked at
LEVELS = [f"{kind}:{level}" for kind in ("wait", "ready") for level in range(10)]
LANES = ("wait:", "ready:")
_TRIES = 3
_SIZE = {"hash": "HLEN", "zset": "ZCARD"}
Command = tuple[str | bytes | int, ...]


class Bounds(NamedTuple):
    """How much is read at once, and in all."""

    small: int = SMALL
    most: int = MOST


class Reader:
    """Of one queue over one connection; `names` are suffixes that a SCAN has found."""

    def __init__(self, conn: Connection, base: bytes, bounds: Bounds | None = None) -> None:
        self._conn = conn
        self._base = base
        self._bounds = bounds or Bounds()

    async def read(self, names: Iterable[str] = ()) -> Snapshot:
        """All of it. Too long keys are left out and named in `Snapshot.left_out`."""
        given = {name for name in names if name not in KINDS}
        structure = {*KINDS, *LEVELS, *(name for name in given if name.startswith(LANES))}
        for _ in range(_TRIES):
            found = Snapshot(self._base.decode())
            await self._structure(found, sorted(structure))
            fresh = found.zset("lanes").keys() - structure
            structure |= fresh
            if not fresh:
                break  # no lane has come since its name was asked for
        others = sorted(name for name in given if not name.startswith(LANES))
        await self._others(found, others[:MOST_KEYS])
        return found

    def key(self, name: str) -> bytes:
        """The whole key of a suffix."""
        return self._base + name.encode("latin-1")

    async def _structure(self, found: Snapshot, names: Sequence[str]) -> None:
        counts = await self._many([(_SIZE[_kind(name)], self.key(name)) for name in names])
        sizes = {n: 0 if _refused(c) else c for n, c in zip(names, counts, strict=True)}
        small = _fitting(sizes, self._bounds.small)
        await self._at_once(found, small, large := sorted(sizes.keys() - small))
        for name in large:
            if sizes[name] > self._bounds.most:
                found.left_out.append(name)
            else:
                found.pieces.append(name)
                await self._walk(found, name)
        for name in found.kinds:
            found.ttl[name] = -1
        if large:
            await self._note_slack(found)

    async def _at_once(self, found: Snapshot, small: set[str], large: Sequence[str]) -> None:
        """One transaction: all types, the clock, what is small, and the heads of large lanes."""
        names = sorted({*small, *large, "clock"})
        lanes = [name for name in large if name.startswith("wait:")]
        asked: list[Command] = [("TYPE", self.key(name)) for name in names]
        asked += [_whole(name, self.key(name)) for name in sorted(small)]
        asked += [("ZRANGE", self.key(name), 0, 0, "WITHSCORES") for name in lanes]
        asked.append(("GET", self.key("clock")))
        replies = (await self._many([("MULTI",), *asked, ("EXEC",)]))[-1]
        if isinstance(replies, ScriptError):
            raise replies
        answers = iter(replies)
        for name in names:
            kind = text(next(answers))
            if kind != "none":
                found.kinds[name] = kind
        for name in sorted(small):
            _keep(found, name, next(answers))
        for name in lanes:
            for _, score in pairs(next(answers)):
                found.heads[name.removeprefix("wait:")] = int(float(score))
        clock = next(answers)
        if isinstance(clock, bytes):
            found.strings["clock"] = clock

    async def _walk(self, found: Snapshot, name: str) -> None:
        """In pieces: what stays is seen, what comes or goes meanwhile may be or not."""
        verb = "HSCAN" if _kind(name) == "hash" else "ZSCAN"
        flat: list[tuple[bytes, Any]] = []
        cursor: Any = b"0"
        while True:
            cursor, piece = await self._ask(verb, self.key(name), cursor, "COUNT", PIECE)
            flat += pairs(piece)
            if cursor in (b"0", 0):
                break
        _keep(found, name, flat)

    async def _note_slack(self, found: Snapshot) -> None:
        later = await self._ask("GET", self.key("clock"))
        before = found.strings.get("clock")
        if not isinstance(later, bytes) or before is None:
            return
        try:
            old, new = counters(before), counters(later)
        except ValueError:
            return
        # What was admitted after the first look has a tick above the first clock.
        found.strings["clock"] = later
        found.slack = sum(abs(b - a) for a, b in zip(old, new, strict=True))

    async def _others(self, found: Snapshot, names: Sequence[str]) -> None:
        for some in _pieces(names):
            asked = [(verb, self.key(name)) for name in some for verb in ("TYPE", "PTTL")]
            replies = await self._many(asked)
            for name, kind, ttl in zip(some, replies[::2], replies[1::2], strict=True):
                if kind != b"none":
                    found.kinds[name], found.ttl[name] = text(kind), ttl
        lists = [name for name in names if found.kinds.get(name) == "list"]
        hints = [name for name in lists if name.startswith(("wake:", "told:"))]
        for some in _pieces(hints):
            replies = await self._many([("LRANGE", self.key(name), 0, 256) for name in some])
            for name, reply in zip(some, replies, strict=True):
                if isinstance(reply, list):
                    found.lists[name] = reply

    async def _ask(self, *command: str | bytes | int) -> Any:
        return await self._conn.command(*command, at=self._base)

    async def _many(self, commands: Sequence[Command]) -> list[Any]:
        """In order and in few writes; what a key of a wrong type answers is among the replies."""
        asked = [self._ask(*command) for command in commands]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, ScriptError):
                raise reply
        return replies


def pairs(reply: Any) -> list[tuple[bytes, Any]]:
    """Pairs of a reply: flat in RESP2, nested or a dict in RESP3."""
    if isinstance(reply, dict):
        return list(reply.items())
    flat = [x for item in reply for x in (item if isinstance(item, list | tuple) else [item])]
    return list(zip(flat[::2], flat[1::2], strict=True))


def _pieces(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), AT_ONCE):
        yield names[at : at + AT_ONCE]


def _refused(reply: object) -> bool:
    return is_error(reply) or isinstance(reply, ScriptError)


def _fitting(sizes: dict[str, int], most: int) -> set[str]:
    """The smallest keys that together have no more than `most` entries."""
    fitting: set[str] = set()
    total = 0
    for name in sorted(sizes, key=lambda name: sizes[name]):
        total += sizes[name]
        if total > most:
            break
        fitting.add(name)
    return fitting


def _kind(name: str) -> str:
    """Of a key of the structure, as it should be."""
    return KINDS.get(name, "zset")


def _whole(name: str, key: bytes) -> Command:
    return ("HGETALL", key) if _kind(name) == "hash" else ("ZRANGE", key, 0, -1, "WITHSCORES")


def _keep(found: Snapshot, name: str, reply: Any) -> None:
    """A key that has gone, or changed its type, since it was counted is none."""
    if _refused(reply) or not reply:
        return
    if _kind(name) == "hash":
        found.hashes[name] = {text(field): value for field, value in pairs(reply)}
    else:
        found.zsets[name] = {text(member): float(score) for member, score in pairs(reply)}
