"""Rows 38–47 and 55: several servers that act as one, in durability mode `replicated`.

One primary, two replicas, three Sentinels; or a Cluster of three primaries with a replica each.
All on this machine: replicas are in step within milliseconds, which a real network never is.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.servers import Server, until
from tests.topologies import SERVICE, Slotted, Watched, cluster, sentinel

from .rows import Row, Trial
from .stand import QUEUE, Stand
from .waiting import staff, until_done

GUARD: dict[str, Any] = {
    "min-replicas-to-write": 1,
    "min-replicas-max-lag": 2,
    "appendonly": "yes",
    "appendfsync": "everysec",
}
_DEMAND = "?durability=replicated"
_KEY = f"peak:{{{QUEUE}}}:clock"
_SYNC_S = 60.0
# The default: a lease has to be longer than a failover, or what runs is run again.
_LEASE_S = 15.0

Injure = Callable[[Any], None]


# -- what is done to them -------------------------------------------------------------------


def kill_watched(servers: Watched) -> None:
    """kill -9 the primary; it is started again once another one has taken over."""
    servers.kill().start()


def freeze_watched(servers: Watched) -> None:
    """SIGSTOP the primary for eight seconds: it comes back as one that believes it is primary."""
    with servers.primary.paused():
        time.sleep(8)


def bare_switch(servers: Watched) -> None:
    """SENTINEL FAILOVER and nothing else: the old primary goes on until it is demoted."""
    old = servers.primary
    servers.sentinels[0].client().execute_command("SENTINEL FAILOVER", SERVICE)
    until(lambda: servers.primary is not old, timeout=30, what="a switch")


def planned_switch(servers: Watched) -> None:
    """The procedure: writes wait, replicas catch up, the switch, and the old one is demoted."""
    old = servers.primary
    client = old.client()
    client.execute_command("CLIENT PAUSE", 30000, "WRITE")
    try:
        until(lambda: _in_step(old), timeout=5, what="replicas in step")
        servers.sentinels[0].client().execute_command("SENTINEL FAILOVER", SERVICE)
        until(lambda: servers.primary is not old, timeout=30, what="a switch")
        until(lambda: client.info("replication")["role"] == "slave", timeout=30, what="demotion")
    finally:
        client.execute_command("CLIENT UNPAUSE")


def kill_slotted(servers: Slotted) -> None:
    """kill -9 the queue's primary, until its replica has taken over; then start it again."""
    old = owner(servers)
    old.kill()
    until(lambda: owner(servers, but=old) is not old, timeout=30, what="a new primary")
    old.start()


def freeze_slotted(servers: Slotted) -> None:
    """SIGSTOP the queue's primary for eight seconds."""
    with owner(servers).paused():
        time.sleep(8)


def manual_failover(servers: Slotted) -> None:
    """CLUSTER FAILOVER: the Cluster's own planned switch."""
    old = owner(servers)
    replica = next(one for one in servers.nodes if _follows(one, old))
    replica.client().execute_command("CLUSTER FAILOVER")
    until(lambda: owner(servers) is replica, timeout=30, what="a switch")


def cluster_down(servers: Slotted) -> None:
    """Two of three primaries and their replicas stop: the Cluster refuses everything."""
    mine = owner(servers)
    others = [one for one in servers.nodes if one is not mine and not _follows(one, mine)]
    with contextlib.ExitStack() as stopped:
        for one in others:
            stopped.enter_context(one.paused())
        time.sleep(5)


def lagging_replica(servers: Watched) -> None:
    """One replica stands still for five seconds, then the primary dies."""
    lame = next(one for one in servers.servers if one is not servers.primary)
    with lame.paused():
        time.sleep(5)
        old = servers.primary
        old.kill()
    until(lambda: servers.primary is not old, timeout=30, what="a new primary")
    old.start()


def no_sentinels(servers: Watched) -> None:
    """All Sentinels die: who knows the primary goes on with it."""
    for one in servers.sentinels:
        one.kill()
    time.sleep(5)
    for one in servers.sentinels:
        one.start()


# -- rows -----------------------------------------------------------------------------------


def _row(
    topology: Callable[[], contextlib.AbstractContextManager[Any]], injure: Injure, **rules: Any
) -> Callable[[Trial], None]:
    """A row that injures a topology under load, as often as it is told."""

    def run(trial: Trial) -> None:
        with topology() as servers, _stand(trial, servers) as stand:
            staff(stand, 2)
            stand.load(rate=25, ms=(5, 100), deadline_s=120)
            gaps: list[float] = []
            for _ in range(trial.repeat):
                _whole(servers)
                until_done(stand)
                since = time.monotonic_ns()
                injure(servers)
                until_done(stand)
                gaps.append(stand.gap(since))
            trial.note(f"gaps {min(gaps):.1f}–{max(gaps):.1f} s")
            _whole(servers)
            trial.judge(stand, **{"doubles_by": (), **rules})

    return run


@contextlib.contextmanager
def _stand(trial: Trial, servers: Watched | Slotted) -> Iterator[Stand]:
    def look() -> Any:
        return (owner(servers) if isinstance(servers, Slotted) else servers.primary).client()

    with trial.stand_at(servers.url + _DEMAND, look, lease_s=_LEASE_S) as stand:
        yield stand


def _watched() -> contextlib.AbstractContextManager[Watched]:
    return sentinel(3, replicas=2, **GUARD)


def _slotted() -> contextlib.AbstractContextManager[Slotted]:
    return cluster(3, replicas=1, **GUARD)


def owner(servers: Slotted, but: Server | None = None) -> Server:
    """The primary of the queue's slot, asked of a node that lives."""
    alive = next(one for one in servers.nodes if one is not but and one.running())
    client = alive.client(protocol=2)
    slot = client.execute_command("CLUSTER KEYSLOT", _KEY)
    for first, last, node, *_ in client.execute_command("CLUSTER SLOTS"):
        if first <= slot <= last:
            return next(one for one in servers.nodes if one.port == node[1])
    raise AssertionError(f"slot {slot} has no owner")


def _whole(servers: Watched | Slotted) -> None:
    """Wait until every replica is back and in step."""
    if isinstance(servers, Watched):
        until(lambda: _replicas(servers.primary) == 2, timeout=_SYNC_S, what="two replicas")
    else:
        until(lambda: _replicas(owner(servers)) == 1, timeout=_SYNC_S, what="a replica")


def _replicas(primary: Server) -> int:
    rows = _replica_rows(primary.client().info("replication"))
    return sum(1 for row in rows if row["state"] == "online" and row["lag"] <= 1)


def _in_step(primary: Server) -> bool:
    facts = primary.client().info("replication")
    rows = _replica_rows(facts)
    told = len(rows) == facts["connected_slaves"]
    return told and {row["offset"] for row in rows} == {facts["master_repl_offset"]}


def _replica_rows(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that are told: one that is on its way is counted before it has a row."""
    return [row for name, row in facts.items() if re.fullmatch(r"slave\d+", name)]


def _follows(node: Server, primary: Server) -> bool:
    facts = node.client().info("replication")
    return bool(facts["role"] == "slave" and facts["master_port"] == primary.port)


ROWS = (
    Row(38, "Sentinel: primary kill -9", "T", (0, 20, 20), _row(_watched, kill_watched)),
    Row(39, "Sentinel: primary frozen for 8 s", "T", (0, 5, 20), _row(_watched, freeze_watched)),
    Row(40, "Sentinel: planned switch", "T", (0, 20, 20), _row(_watched, planned_switch)),
    Row(41, "all Sentinels killed for 5 s", "T", (0, 5, 20), _row(_watched, no_sentinels)),
    Row(42, "Cluster: primary kill -9", "C", (0, 20, 20), _row(_slotted, kill_slotted)),
    Row(43, "Cluster: CLUSTER FAILOVER", "C", (0, 5, 50), _row(_slotted, manual_failover)),
    Row(44, "Cluster: primary frozen 8 s", "C", (0, 5, 20), _row(_slotted, freeze_slotted)),
    Row(46, "Cluster: 2 of 3 primaries away", "C", (0, 5, 20), _row(_slotted, cluster_down)),
    Row(47, "a replica lags, then primary dies", "T", (0, 5, 20), _row(_watched, lagging_replica)),
    Row(55, "Sentinel: bare SENTINEL FAILOVER", "T", (0, 5, 20), _row(_watched, bare_switch)),
)
