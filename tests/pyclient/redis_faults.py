"""Topologies that can fail, and the ways in which they do: what `loss` measures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis

from tests.servers import Server, redis_server, until, valkey
from tests.topologies import SERVICE, Slotted, Watched, cluster, sentinel

LOG: dict[str, Any] = {"appendonly": "yes", "appendfsync": "everysec"}
GUARD: dict[str, Any] = {"min-replicas-to-write": 1, "min-replicas-max-lag": 2, **LOG}


def settings_for(durability: str) -> dict[str, Any]:
    """What each mode wants of a server, and a log on disk for `aof`."""
    if durability.startswith("replicated"):
        return dict(GUARD)
    if durability == "aof":
        return dict(LOG)
    return {}


@contextlib.contextmanager
def single(durability: str, **settings: Any) -> Iterator[Server]:
    """One Valkey on a port."""
    with valkey(tcp=True, **settings_for(durability), **settings) as server:
        yield server


@contextlib.contextmanager
def single_redis(durability: str, **settings: Any) -> Iterator[Server]:
    """One redis-server of the machine."""
    with redis_server(tcp=True, **settings_for(durability), **settings) as server:
        yield server


@contextlib.contextmanager
def watched(durability: str, **settings: Any) -> Iterator[Watched]:
    """A primary, two replicas, three Sentinels."""
    with sentinel(3, replicas=2, **settings_for(durability), **settings) as servers:
        yield servers


@contextlib.contextmanager
def slotted(durability: str, **settings: Any) -> Iterator[Slotted]:
    """Three primaries with a replica each."""
    with cluster(3, replicas=1, **settings_for(durability), **settings) as servers:
        yield servers


TOPOLOGIES: dict[str, Callable[..., contextlib.AbstractContextManager[Any]]] = {
    "single": single,
    "redis": single_redis,
    "sentinel": watched,
    "cluster": slotted,
}


def queue_primary(servers: Any, key: str = "peak:{loss}:") -> Server:
    """The server that holds the queue."""
    if isinstance(servers, Slotted):
        return servers.node_of(key)
    return servers.primary if isinstance(servers, Watched) else servers


def kill(servers: Any) -> None:
    """kill -9 the primary, and start it again: at once, or once another one has taken over."""
    old = queue_primary(servers)
    old.kill()
    if not isinstance(servers, Server):
        until(lambda: queue_primary_now(servers, old) is not old, timeout=30, what="a new primary")
    old.start()


def queue_primary_now(servers: Any, old: Server) -> Server:
    """As `queue_primary`, asked of the nodes that live."""
    if not isinstance(servers, Slotted):
        return queue_primary(servers)
    alive = next(one for one in servers.nodes if one is not old)
    slot = alive.client().execute_command("CLUSTER KEYSLOT", "peak:{loss}:")
    for first, last, owner, *_ in alive.client(protocol=2).execute_command("CLUSTER SLOTS"):
        if first <= slot <= last:
            return next(one for one in servers.nodes if one.port == owner[1])
    return old


def stop(servers: Any) -> None:
    """SIGSTOP the primary for eight seconds: it comes back believing that it is primary."""
    with queue_primary(servers).paused():
        time.sleep(8)


def bare(servers: Any) -> None:
    """SENTINEL FAILOVER without more: the old primary goes on until it is demoted."""
    old = queue_primary(servers)
    servers.sentinels[0].client().execute_command("SENTINEL FAILOVER", SERVICE)
    until(lambda: queue_primary(servers) is not old, timeout=30, what="a switch")


def planned(servers: Any) -> None:
    """The switch of docs/how-to/failover.md."""
    old = queue_primary(servers)
    if isinstance(servers, Slotted):
        replica = replica_of(servers, old)
        replica.client().execute_command("CLUSTER FAILOVER")
        until(lambda: queue_primary(servers) is replica, timeout=30, what="a switch")
        return
    client = old.client()
    client.execute_command("CLIENT PAUSE", 30000, "WRITE")
    try:
        in_step(client)
        servers.sentinels[0].client().execute_command("SENTINEL FAILOVER", SERVICE)
        until(lambda: queue_primary(servers) is not old, timeout=30, what="a switch")
        until(lambda: client.info("replication")["role"] == "slave", timeout=30, what="demotion")
    finally:
        client.execute_command("CLIENT UNPAUSE")


def coordinated(servers: Any) -> None:
    """The switch of Valkey 9: the old primary stops writes and hands over by itself."""
    old = queue_primary(servers)
    servers.sentinels[0].client().execute_command("SENTINEL FAILOVER", SERVICE, "COORDINATED")
    until(lambda: queue_primary(servers) is not old, timeout=30, what="a switch")


def migrate(servers: Slotted, key: str, target: Server) -> None:
    """Move the slot of a key to another primary in one atomic step, as Valkey 9 can."""
    slot = int(servers.nodes[0].client().execute_command("CLUSTER KEYSLOT", key))
    source = servers.node_of(key).client(protocol=2)
    name = target.client().execute_command("CLUSTER MYID")
    source.execute_command("CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)

    def arrived() -> bool:
        rows = source.execute_command("CLUSTER GETSLOTMIGRATIONS")
        states = [_fields(row)["state"] for row in rows]
        assert "failed" not in states, rows
        return states[0] == "success" and servers.node_of(key) is target

    until(arrived, timeout=30, what="the end of a migration")


def move_key_by_key(servers: Slotted, key: str, target: Server) -> None:
    """Move the slot of a drained queue as any Cluster can: docs/how-to/cluster.md."""
    slot = int(servers.nodes[0].client().execute_command("CLUSTER KEYSLOT", key))
    source = servers.node_of(key)
    names = {one: one.client().execute_command("CLUSTER MYID") for one in (source, target)}
    here, there = source.client(protocol=2), target.client(protocol=2)
    there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
    here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])
    while keys := here.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        here.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for one in (target, source, *servers.primaries):
        one.client().execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])
    until(lambda: servers.node_of(key) is target, timeout=10, what="the move of a slot")


def _fields(row: list[Any]) -> dict[str, str]:
    words = [one.decode() if isinstance(one, bytes) else str(one) for one in row]
    return dict(zip(words[::2], words[1::2], strict=True))


def in_step(client: redis.Redis) -> None:
    """Wait until every replica has all of what the primary has."""

    def same() -> bool:
        facts = client.info("replication")
        offsets = {facts[f"slave{i}"]["offset"] for i in range(facts["connected_slaves"])}
        return offsets == {facts["master_repl_offset"]}

    until(same, timeout=5, what="replicas in step")


def replica_of(servers: Slotted, primary: Server) -> Server:
    """A replica of this primary."""
    for one in servers.nodes:
        facts = one.client().info("replication")
        if facts["role"] == "slave" and facts["master_port"] == primary.port:
            return one
    raise AssertionError("no replica")


FAULTS: dict[str, Callable[[Any], None]] = {
    "kill": kill,
    "stop": stop,
    "bare": bare,
    "planned": planned,
    "coordinated": coordinated,
    "none": lambda servers: None,
}
