"""What doctor says of the server itself: replicas, disk, memory, clock, connections, slots."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from pyclient.cli import doctor as verb
from pyclient.cli.doctor import server as looks
from pyclient.cli.doctor.finding import Finding
from pyclient.cluster import slot_of
from tests.cli.support import run
from tests.servers import DEFAULTS, Server, several, until, valkey
from tests.topologies import cluster

BASE = b"peak:{orders}:"
FULL = {"used_memory": "950", "maxmemory": "1000", "maxmemory_policy": "noeviction"}

# What INFO says, the finding asked for, its state, and words of it.
TOLD: dict[str, tuple[Any, Mapping[str, str], str, str]] = {
    "memory nearly used up": (looks._memory, FULL, "problem", "memory: 0 MiB of 0 MiB"),
    "nine tenths are not too much": (looks._memory, FULL | {"used_memory": "900"}, "ok", "memory"),
    "keys were evicted": (
        looks._memory,
        {"used_memory": "9", "evicted_keys": "7", "maxmemory_policy": "allkeys-lru"},
        "warning",
        "of no limit, eviction allkeys-lru; 7 keys were evicted",
    ),
    "an append-only file that can't be written": (
        looks._durability,
        {"aof_enabled": "1", "aof_last_write_status": "err", "rdb_last_bgsave_status": "ok"},
        "problem",
        "could not write to its disk (aof_last_write_status err)",
    ),
    "a snapshot that failed": (
        looks._durability,
        {"aof_enabled": "0", "rdb_last_bgsave_status": "err"},
        "problem",
        "(rdb_last_bgsave_status err)",
    ),
    "what no snapshot has": (
        looks._durability,
        {"rdb_changes_since_last_save": "12", "rdb_last_save_time": "1"},
        "warning",
        "(12 changes since the last snapshot)",
    ),
    "no replica is near": (
        looks._replicas,
        {"connected_slaves": "2", "min_slaves_good_slaves": "0"},
        "problem",
        "none of 2 replicas is near enough",
    ),
    "connections run out": (
        looks._connections,
        {"connected_clients": "81", "maxclients": "100", "rejected_connections": "3"},
        "warning",
        "connections: 81 of 100, 3 refused",
    ),
}


@pytest.mark.parametrize("name", sorted(TOLD))
def test_what_info_says_is_told(name: str) -> None:
    look, facts, state, words = TOLD[name]
    found: Finding = look(facts)
    assert found.state == state, found
    assert words in found.text
    assert bool(found.fix) == (state != "ok")


def said(url: str, *words: str) -> dict[str, dict[str, str]]:
    """Doctor's findings by name; the last of each name."""
    done = run("doctor", "--queue", "orders", "--url", url, "--json", *words)
    assert done.returncode in (0, 1), done
    return {one["name"]: one for one in json.loads(done.stdout)["findings"]}


def test_an_append_only_file_is_good_news() -> None:
    with valkey(appendonly="yes") as server:
        found = said(server.url)
    assert found["durability"]["state"] == "ok"
    assert "its last write was good" in found["durability"]["text"]


def test_replicas_are_looked_at_and_a_replica_is_named_as_such() -> None:
    with several() as make:
        primary = make(**DEFAULTS)
        primary.ready()
        replica = make(replicaof=[f"127.0.0.1 {primary.port}"], **DEFAULTS)
        replica.ready()
        ours, theirs = primary.client(), replica.client()
        until(lambda: theirs.info("replication")["master_link_status"] == "up", what="the link")
        found = said(primary.url)
        assert (found["role"]["state"], found["replicas"]["state"]) == ("ok", "warning")
        assert "min-replicas-to-write is 0" in found["replicas"]["text"]
        ours.config_set("min-replicas-to-write", 1)
        until(lambda: "min_slaves_good_slaves" in ours.info("replication"), what="the setting")
        assert (
            said(primary.url)["replicas"]["text"] == "1 replicas, 1 of them near enough for writes"
        )
        found = said(replica.url)
        assert found["role"]["state"] == "problem"
        assert "is a replica of 127.0.0.1: it takes no writes" in found["role"]["text"]


def test_a_slot_that_moves_key_by_key_and_a_cluster_that_is_not_ok() -> None:
    slot = slot_of(BASE)
    with cluster(2) as servers:
        owner = servers.node_of(BASE.decode())
        other = next(node for node in servers.primaries if node is not owner)
        assert said(servers.url)["slot"]["state"] == "ok"
        mine, theirs = owner.client(protocol=2), other.client(protocol=2)
        names = [client.execute_command("CLUSTER MYID") for client in (mine, theirs)]
        theirs.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
        mine.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
        found = said(servers.url)["slot"]
        assert (found["state"], found["fix"][:15]) == ("problem", "CLUSTER SETSLOT")
        assert f"slot {slot} of this queue is being moved key by key" in found["text"]
        for client in (mine, theirs):
            client.execute_command("CLUSTER SETSLOT", slot, "STABLE")


def test_a_cluster_of_which_a_part_is_served_by_nobody() -> None:
    with cluster(2, cluster_allow_reads_when_down="yes") as servers:
        owner = servers.node_of(BASE.decode())
        other = next(node for node in servers.primaries if node is not owner)
        mine, theirs = owner.client(protocol=2), other.client(protocol=2)
        lost = (slot_of(BASE) + 8192) % 16384
        for client in (theirs, mine):  # its owner first, who would tell the other one again
            client.execute_command("CLUSTER DELSLOTS", lost)
        until(lambda: "cluster_state:fail" in info(mine), what="a slot of nobody")
        found = said(servers.url)["slot"]
    assert (found["state"], found["fix"]) == (
        "problem",
        "CLUSTER INFO and CLUSTER SHARDS say which",
    )


def info(client: redis.Redis) -> str:
    """CLUSTER INFO, however it is decoded."""
    told = client.execute_command("CLUSTER INFO")
    return "\n".join(f"{k}:{v}" for k, v in told.items()) if isinstance(told, dict) else str(told)


def test_a_far_server_and_a_clock_that_is_wrong(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = said(server.url)
    assert (found["server"]["state"], found["clock"]["state"]) == ("ok", "ok")
    monkeypatch.setattr(looks, "_SLOW_MS", 0.0)
    late = SimpleNamespace(time=lambda: time.time() - 60, perf_counter=time.perf_counter)
    monkeypatch.setattr("pyclient.cli.doctor.server.time", late)
    found = said(server.url)
    assert found["server"]["fix"] == "put gateway and workers nearer to Redis"
    assert found["clock"]["state"] == "warning"
    assert "s ahead; no queue goes wrong" in found["clock"]["text"]


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, state in ((1024, "warning"), (4096, "ok"), (resource.RLIM_INFINITY, "ok")):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert verb._files().state == state
