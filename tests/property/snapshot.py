"""All keys of one queue at one instant: a small queue of a test, in one call."""

from __future__ import annotations

from typing import Any

from pyclient.cli.audit.snapshot import Snapshot, text

# KEYS would stop a server that has many.
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
    """Everything under a prefix, at one instant and in one round trip."""
    return parsed(prefix, client.eval(DUMP, 0, prefix))


def parsed(prefix: str, dumped: list[Any]) -> Snapshot:
    """What the script of `dump` answers, as a snapshot."""
    found = Snapshot(prefix)
    for name, kind_bytes, ttl, raw in sorted(dumped):
        suffix, kind = text(name)[len(prefix) :], text(kind_bytes)
        _keep(found, suffix, kind, raw)
        found.ttl[suffix], found.kinds[suffix] = ttl, kind
    return found


def _keep(found: Snapshot, suffix: str, kind: str, raw: Any) -> None:
    if kind == "hash":
        found.hashes[suffix] = {text(k): v for k, v in zip(raw[::2], raw[1::2], strict=True)}
    elif kind == "zset":
        scores = zip(raw[::2], raw[1::2], strict=True)
        found.zsets[suffix] = {text(member): float(score) for member, score in scores}
    elif kind == "list":
        found.lists[suffix] = list(raw)
    elif kind == "set":
        found.sets[suffix] = {text(member) for member in raw}
    elif kind == "stream":
        found.streams[suffix] = [
            (text(entry), [(text(k), v) for k, v in zip(f[::2], f[1::2], strict=True)])
            for entry, f in raw
        ]
    else:
        found.strings[suffix] = raw


__all__ = ["DUMP", "Snapshot", "dump", "parsed", "text"]
