"""All keys of one queue, read as they are: what the invariants and the model look at.

Nothing here imports `redis`: the client is passed in, and only `scan_iter`, `pipeline` and plain
read commands of it are used, so that an operator's tool can take this file over as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Pairs = list[tuple[str, bytes]]


def text(value: bytes | str) -> str:
    """Bytes of Redis as text, losslessly."""
    return value if isinstance(value, str) else value.decode("latin-1")


@dataclass(slots=True)
class Snapshot:
    """Key suffix (what follows the prefix) to value, by type of key."""

    prefix: str
    strings: dict[str, bytes] = field(default_factory=dict)
    hashes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    zsets: dict[str, dict[str, float]] = field(default_factory=dict)
    lists: dict[str, list[bytes]] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    streams: dict[str, list[tuple[str, Pairs]]] = field(default_factory=dict)
    ttl: dict[str, int] = field(default_factory=dict)

    def content(self) -> dict[str, object]:
        """Everything but the remaining lives, for equality."""
        return {
            **self.strings,
            **self.hashes,
            **self.zsets,
            **self.lists,
            **self.sets,
            **self.streams,
        }

    def names(self) -> Iterable[str]:
        """All suffixes."""
        return self.ttl.keys()

    def starting(self, start: str) -> list[str]:
        """The rest of each suffix that begins with `start`."""
        return [key[len(start) :] for key in self.ttl if key.startswith(start)]

    def hash(self, name: str) -> dict[str, bytes]:
        """A hash, empty where it is missing."""
        return self.hashes.get(name, {})

    def zset(self, name: str) -> dict[str, float]:
        """A sorted set in its order, empty where it is missing."""
        return self.zsets.get(name, {})

    def integer(self, name: str, field_name: str, default: int = 0) -> int:
        """An integer field of a hash."""
        value = self.hash(name).get(field_name)
        return default if value in (None, b"") else int(value)

    def waiting(self) -> dict[str, list[tuple[str, int]]]:
        """Task id to (lane, tick), for each lane that holds it (it should be one)."""
        found: dict[str, list[tuple[str, int]]] = {}
        for lane in self.starting("wait:"):
            for name, tick in self.zsets[f"wait:{lane}"].items():
                found.setdefault(name, []).append((lane, int(tick)))
        return found


def read(client: Any, prefix: str) -> Snapshot:
    """Read all keys that begin with `prefix` (two round trips and a SCAN)."""
    names = sorted(client.scan_iter(match=_literal(prefix) + "*", count=1000))
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.type(name)
    kinds = [text(kind) for kind in pipe.execute()]
    for name, kind in zip(names, kinds, strict=True):
        _ask(pipe, kind, name)
        pipe.pttl(name)
    answers = pipe.execute()
    found = Snapshot(prefix)
    for at, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        suffix = text(name)[len(prefix) :]
        if kind != "none":
            _keep(found, suffix, kind, answers[2 * at])
            found.ttl[suffix] = answers[2 * at + 1]
    return found


# The same in one call, for tests: KEYS would stop a server that has many.
DUMP = """
local out = {}
for i, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'stream' then value = redis.call('XRANGE', key, '-', '+')
  else value = redis.call('GET', key) end
  out[i] = { key, kind, redis.call('PTTL', key), value }
end
return out
"""


def dump(client: Any, prefix: str) -> Snapshot:
    """As `read`, at one instant and in one round trip; for small queues of tests only."""
    found = Snapshot(prefix)
    for name, kind_bytes, ttl, raw in sorted(client.eval(DUMP, 0, prefix)):
        suffix, kind, value = text(name)[len(prefix) :], text(kind_bytes), raw
        if kind == "hash":
            value = dict(zip(raw[::2], raw[1::2], strict=True))
        elif kind == "zset":
            value = list(zip(raw[::2], raw[1::2], strict=True))
        elif kind == "stream":
            value = [(e, dict(zip(f[::2], f[1::2], strict=True))) for e, f in raw]
        _keep(found, suffix, kind, value)
        found.ttl[suffix] = ttl
    return found


def _literal(prefix: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in prefix)


def _ask(pipe: Any, kind: str, name: bytes) -> None:
    if kind == "hash":
        pipe.hgetall(name)
    elif kind == "zset":
        pipe.zrange(name, 0, -1, withscores=True)
    elif kind == "list":
        pipe.lrange(name, 0, -1)
    elif kind == "set":
        pipe.smembers(name)
    elif kind == "stream":
        pipe.xrange(name)
    else:
        pipe.get(name)


def _keep(found: Snapshot, suffix: str, kind: str, value: Any) -> None:
    if kind == "hash":
        found.hashes[suffix] = {text(k): v for k, v in value.items()}
    elif kind == "zset":
        found.zsets[suffix] = {text(pair[0]): float(pair[1]) for pair in value}
    elif kind == "list":
        found.lists[suffix] = list(value)
    elif kind == "set":
        found.sets[suffix] = {text(member) for member in value}
    elif kind == "stream":
        found.streams[suffix] = [
            (text(entry), [(text(k), v) for k, v in fields.items()]) for entry, fields in value
        ]
    else:
        found.strings[suffix] = value
