"""The server: version, memory, durability, clock, connections, scripts, slots in migration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

from pyclient.cli.reach import Redis
from pyclient.cluster import slot_of
from pyclient.keys import Keys
from pyclient.replies import text_of

from .finding import Finding

_PINGS = 20
_SLOW_MS = 20.0
_SKEW_S = 2.0
Facts = Mapping[str, str]


async def look_at_server(redis: Redis, queue: str) -> AsyncIterator[Finding]:
    """All of INFO that matters to a queue, and a few questions more."""
    base = Keys(redis.prefix, queue).base
    facts = _facts(await redis.conn.command("INFO", at=base))
    yield await _server(redis, facts, base)
    yield _role(facts)
    yield _memory(facts)
    yield _durability(facts)
    if int(facts.get("connected_slaves", 0)):
        yield _replicas(facts)
    yield _connections(facts)
    yield await _clock(redis, base)
    yield await _loaded(redis, base)
    if facts.get("cluster_enabled") == "1":
        yield await _slot(redis, base)


async def look_at_slot(redis: Redis, queue: str) -> AsyncIterator[Finding]:
    """Of a further shard only whether its slot is being moved."""
    base = Keys(redis.prefix, queue).base
    if _facts(await redis.conn.command("INFO", at=base)).get("cluster_enabled") == "1":
        yield await _slot(redis, base)


def _facts(info: bytes | str) -> dict[str, str]:
    lines = text_of(info).splitlines()
    return {k: v for k, _, v in (line.partition(":") for line in lines) if v}


async def _server(redis: Redis, facts: Facts, base: bytes) -> Finding:
    valkey = facts.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {facts.get('redis_version', '?')}"
    took = []
    for _ in range(_PINGS):
        begun = time.perf_counter()
        await redis.conn.command("PING", at=base)
        took.append((time.perf_counter() - begun) * 1000)
    text = f"{name} at {redis.address}, median of {_PINGS} pings {sorted(took)[10]:.1f} ms"
    if sorted(took)[10] > _SLOW_MS:
        return Finding("warning", "server", text, "put gateway and workers nearer to Redis")
    return Finding("ok", "server", text)


def _role(facts: Facts) -> Finding:
    if facts.get("role") == "slave":
        text = f"this server is a replica of {facts.get('master_host', '?')}: it takes no writes"
        return Finding("problem", "role", text, "give the address of the primary, or of Sentinel")
    return Finding("ok", "role", "this server is a primary")


def _memory(facts: Facts) -> Finding:
    """An evicting server is refused at connect already; a full one still drains."""
    used, most = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    text = f"memory: {used / 2**20:.0f} MiB of {f'{most / 2**20:.0f} MiB' if most else 'no limit'}"
    text += f", eviction {facts.get('maxmemory_policy', 'unknown')}"
    if most and used > 0.9 * most:
        return Finding("problem", "memory", text, "raise maxmemory, or lower PEAK_MAX_QUEUE")
    evicted = int(facts.get("evicted_keys", 0))
    if evicted:
        text += f"; {evicted} keys were evicted since its start, tasks may be among them"
        return Finding("warning", "memory", text, "look at the findings about the queue")
    return Finding("ok", "memory", text)


def _durability(facts: Facts) -> Finding:
    aof = facts.get("aof_enabled") == "1"
    last = "aof_last_write_status" if aof else "rdb_last_bgsave_status"
    if facts.get(last, "ok") != "ok":
        text = f"Redis could not write to its disk ({last} {facts[last]}): it refuses writes now"
        return Finding("problem", "durability", text, "free space, or look into its log")
    if aof:
        return Finding("ok", "durability", "durability: append-only file, its last write was good")
    text = "durability: memory only, a restart of Redis forgets what waits"
    if int(facts.get("rdb_changes_since_last_save", 0)) and facts.get("rdb_last_save_time"):
        text += f" ({facts['rdb_changes_since_last_save']} changes since the last snapshot)"
    return Finding("warning", "durability", text, "CONFIG SET appendonly yes, if that matters")


def _replicas(facts: Facts) -> Finding:
    """A bare SENTINEL FAILOVER loses what the old primary acknowledges until it is demoted."""
    count, good = facts["connected_slaves"], facts.get("min_slaves_good_slaves")
    if good is None:
        text = (
            f"{count} replicas, and min-replicas-to-write is 0: a failover loses what the old "
            "primary acknowledges until it is demoted (about 10 s with SENTINEL FAILOVER)"
        )
        fix = "CONFIG SET min-replicas-to-write 1; switch by CLIENT PAUSE ... WRITE and FAILOVER"
        return Finding("warning", "replicas", text, fix)
    if not int(good):
        text = f"none of {count} replicas is near enough: Redis refuses writes (NOREPLICAS)"
        return Finding("problem", "replicas", text, "look why the replicas lag")
    return Finding("ok", "replicas", f"{count} replicas, {good} of them near enough for writes")


def _connections(facts: Facts) -> Finding:
    now, most = int(facts.get("connected_clients", 0)), int(facts.get("maxclients", 0))
    refused = int(facts.get("rejected_connections", 0))
    text = f"connections: {now} of {most or 'unknown'}, {refused} refused since its start"
    if most and now > 0.8 * most:
        return Finding("warning", "connections", text, "raise maxclients")
    return Finding("ok", "connections", text)


async def _clock(redis: Redis, base: bytes) -> Finding:
    """Only the server's clock counts for queues, but logs and certificates go by the local one."""
    begun = time.time()
    seconds, micros = await redis.conn.command("TIME", at=base)
    local = (begun + time.time()) / 2
    skew = int(seconds) + int(micros) / 1e6 - local
    text = f"the clock of Redis is {abs(skew):.3f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) > _SKEW_S:
        text += "; no queue goes wrong, but times in logs do"
        return Finding("warning", "clock", text, "run NTP on both machines")
    return Finding("ok", "clock", text)


async def _loaded(redis: Redis, base: bytes) -> Finding:
    shas = [script.sha for script in redis.scripts.values()]
    present = sum(await redis.conn.command("SCRIPT", "EXISTS", *shas, at=base))
    text = f"scripts: {present} of {len(shas)} of this release are loaded"
    return Finding("ok", "scripts", text if present else f"{text}; the first use loads them")


async def _slot(redis: Redis, base: bytes) -> Finding:
    """`[slot->-node]` and `[slot-<-node]` in the line of the node itself: moved key by key."""
    slot = slot_of(base)
    nodes, state = await asyncio.gather(
        redis.conn.command("CLUSTER", "NODES", at=base),
        redis.conn.command("CLUSTER", "INFO", at=base),
    )
    mine = next((line for line in text_of(nodes).splitlines() if "myself" in line), "")
    if f"[{slot}-" in mine:
        text = f"slot {slot} of this queue is being moved key by key: that tears a queue in two"
        fix = "CLUSTER SETSLOT ... STABLE; close the queue, let it drain, then move (or Valkey 9)"
        return Finding("problem", "slot", text, fix)
    if "cluster_state:ok" not in text_of(state):
        text = "the Cluster says that it is not ok: some slots are served by nobody"
        return Finding("problem", "slot", text, "CLUSTER INFO and CLUSTER SHARDS say which")
    return Finding("ok", "slot", f"slot {slot} of this queue stays where it is")
