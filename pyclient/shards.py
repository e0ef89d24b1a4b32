"""A queue in parts: `name/0`, `name/1` …, each a queue of its own on a slot of its own.

A task id says its shard: its first two bytes modulo the number of shards. So whoever has an id
finds the task, and a submitter chooses the shard by the id that it draws.

Limits are split over the shards. A route whose concurrency (or room) is less than the number of
shards can't be: it is *pinned*, all of it goes to its home, the shard that its name hashes to.
What was asked for as a whole is kept beside shard 0, where every client reads which routes
are pinned.
"""

from __future__ import annotations

import base64
import secrets
import zlib
from collections.abc import Iterable, Mapping, Sequence

from .commands import Arg
from .connection import Connection
from .errors import ConfigError
from .keys import Keys, check_name

MOST = 64
_ROUTED = ("concurrency", "room")
_SPLIT = ("limit", "capacity")


def check_shards(count: int) -> int:
    """As given, or ConfigError."""
    if type(count) is not int or not 1 <= count <= MOST:
        raise ConfigError(f"shards is {str(count)[:40]}, expected 1 to {MOST}")
    return count


def keys_of(prefix: str, name: str, count: int, *, hold: bool = False) -> list[Keys]:
    """The keys of each shard; of one shard those of the plain queue."""
    check_name("queue name", name)
    end = ".hold" if hold else ""
    if count == 1:
        return [Keys(prefix, name + end)]
    return [Keys(prefix, f"{name}/{shard}{end}") for shard in range(count)]


def shard_of(task_id: str, count: int) -> int:
    """The shard that an id belongs to."""
    return int.from_bytes(base64.urlsafe_b64decode(task_id[:4])[:2]) % count


def id_in(shard: int, count: int) -> str:
    """A new id that belongs to a shard: 128 random bits, but for the choice of the shard."""
    raw = secrets.token_bytes(16)
    drawn = int.from_bytes(raw[:2])
    drawn += shard - drawn % count
    drawn -= count if drawn > 0xFFFF else 0
    return base64.urlsafe_b64encode(drawn.to_bytes(2) + raw[2:])[:22].decode()


def home_of(text: str, count: int) -> int:
    """The shard that a name hashes to, the same in every process."""
    return zlib.crc32(text.encode()) % count


def split(what: str, whole: int, count: int) -> list[int]:
    """Parts that add up; 0 (no limit) is none for each. Raises ConfigError where one is empty."""
    if 0 < whole < count:
        raise ConfigError(
            f"{what} is {whole}, expected at least the number of shards ({count}), or 0 for none"
        )
    return [whole // count + (shard < whole % count) for shard in range(count)]


def split_settings(settings: Mapping[str, Arg], count: int) -> list[dict[str, Arg]]:
    """Settings of the whole queue, without those of routes, for each shard."""
    parts: list[dict[str, Arg]] = [{} for _ in range(count)]
    for name, value in settings.items():
        values: Sequence[Arg] = [value] * count
        if name in _SPLIT:
            values = split(name, int(value), count)
        elif name == "reserve":
            marks = [int(mark) // count for mark in str(value).split(",")]
            values = [",".join(map(str, marks))] * count
        for part, one in zip(parts, values, strict=True):
            part[name] = one
    return parts


def split_routes(wholes: Mapping[str, int], count: int) -> list[dict[str, Arg]]:
    """Limits of routes for each shard, from `concurrency <route>` and `room <route>`.

    Off its home a pinned route has a limit of one: for what others put there before they heard.
    """
    pins = pinned(wholes, count)
    parts: list[dict[str, Arg]] = [{} for _ in range(count)]
    for name, whole in wholes.items():
        route = name.partition(" ")[2]
        if route in pins and whole:
            values = [1] * count
            values[home_of(route, count)] = whole
        else:
            values = split(name, whole, count)
        for part, one in zip(parts, values, strict=True):
            part[name] = one
    return parts


def pinned(wholes: Mapping[str, int], count: int) -> set[str]:
    """The routes that live in one shard."""
    return {name.partition(" ")[2] for name, whole in wholes.items() if 0 < whole < count}


def is_routed(name: str) -> bool:
    """Whether a setting is that of a route."""
    return name.partition(" ")[0] in _ROUTED


async def read_wholes(conn: Connection, keys: Keys, *, timeout: float = 5.0) -> dict[str, int]:
    """What was asked for as a whole; `keys` are those of shard 0."""
    said = await conn.command(b"HGETALL", keys.wholes(), timeout=timeout)
    flat = said.items() if isinstance(said, dict) else zip(said[::2], said[1::2], strict=True)
    return {name.decode(): int(value) for name, value in flat}


async def note_wholes(
    conn: Connection, keys: Keys, settings: Mapping[str, Arg], count: int
) -> list[dict[str, Arg]]:
    """Keep what is asked for routes as a whole; returns what to set on each shard: all limits of
    the routes concerned, for one that becomes pinned changes its others too."""
    routes = {name.partition(" ")[2] for name in settings}
    before = await read_wholes(conn, keys)
    wholes = {n: v for n, v in before.items() if n.partition(" ")[2] in routes}
    wholes.update({name: int(value) for name, value in settings.items()})
    parts = split_routes(wholes, count)
    kept = [word for name, value in wholes.items() if value for word in (name, value)]
    gone = [name for name, value in wholes.items() if not value]
    if kept:
        await conn.command(b"HSET", keys.wholes(), *kept)
    if gone:
        await conn.command(b"HDEL", keys.wholes(), *gone)
    return parts


def merged(gauges: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """One gauge of several: counts add up, ages are the worst, and `shards` has each."""
    first = gauges[0]
    whole: dict[str, object] = dict(first)
    for name, value in first.items():
        values = [gauge[name] for gauge in gauges]
        if name == "routes":
            whole[name] = _routes(values)
        elif name == "levels":
            whole[name] = [sum(column) for column in zip(*_lists(values), strict=True)]
        elif isinstance(value, int):
            whole[name] = _number(name, [int(str(one)) for one in values])
        elif len(set(map(str, values))) > 1:
            whole[name] = "mixed" if name == "state" else next(v for v in values if v)
    whole["shards"] = list(gauges)
    return whole


def _number(name: str, values: Sequence[int]) -> int:
    if name in ("now_ms", "lease_ms", "oldest_ms"):
        return max(values)
    if name == "claimed_ms":
        return min((value for value in values if value >= 0), default=-1)
    if name == "gap_us":  # gaps of streams that flow side by side
        rate = sum(1 / value for value in values if value)
        return round(1 / rate) if rate else 0
    return sum(values)


def _lists(values: Iterable[object]) -> list[list[int]]:
    return [value for value in values if isinstance(value, list)]


def _routes(values: Iterable[object]) -> dict[str, dict[str, object]]:
    whole: dict[str, dict[str, object]] = {}
    for routes in values:
        assert isinstance(routes, dict)
        for route, row in routes.items():
            sums = whole.setdefault(route, {"living": 0, "running": 0, "parked": ""})
            for name in ("living", "running"):
                sums[name] = int(str(sums[name])) + row[name]
            sums["parked"] = "".join(sorted({*str(sums["parked"]), *row["parked"]}))
    return whole
