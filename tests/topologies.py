"""Several servers that act as one: a primary under Sentinels, and a Cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import servers
from .servers import Server, free_ports, until

SERVICE = "peak"


class Watched:
    """A primary with replicas under Sentinels."""

    def __init__(self, primary: Server, replicas: list[Server], sentinels: list[Server]) -> None:
        self.servers = [primary, *replicas]
        self.sentinels = sentinels
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Server:
        """The server that the first Sentinel alive names now."""
        for one in self.sentinels:
            if one.running():
                told = one.client().execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(s for s in self.servers if s.port == int(told[1]))
        raise AssertionError("no Sentinel is up")

    @property
    def pid(self) -> int:
        """The process id of the primary."""
        return self.primary.pid

    def client(self, *, protocol: int | None = None) -> redis.Redis:
        """A client of the present primary."""
        return self.primary.client(protocol=protocol)

    def kill(self) -> Server:
        """kill -9 the primary and wait until another one is elected; returns the dead one."""
        old = self.primary
        old.kill()
        until(lambda: self.primary is not old, timeout=30, what="a new primary")
        return old


class Slotted:
    """A Cluster of primaries, each with the same number of replicas."""

    def __init__(self, nodes: list[Server], primaries: int) -> None:
        self.nodes = nodes
        self.primaries = nodes[:primaries]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in nodes)

    @property
    def pid(self) -> int:
        """The process id of the first node."""
        return self.nodes[0].pid

    def client(self, *, protocol: int | None = None) -> redis.RedisCluster:
        """A client that knows the slots; the caller closes it."""
        return redis.RedisCluster(
            host="127.0.0.1",
            port=self.nodes[0].port,
            protocol=protocol or servers.PROTOCOL,
            retry=Retry(NoBackoff(), 0),
        )

    def node_of(self, key: str) -> Server:
        """The primary that owns this key's slot."""
        slot = self.nodes[0].client().execute_command("CLUSTER KEYSLOT", key)
        for first, last, owner, *_ in (
            self.nodes[0].client(protocol=2).execute_command("CLUSTER SLOTS")
        ):
            if first <= slot <= last:
                return next(one for one in self.nodes if one.port == owner[1])
        raise AssertionError(f"slot {slot} has no owner")


@contextlib.contextmanager
def sentinel(n: int = 3, replicas: int = 2, **conf: servers.Setting) -> Iterator[Watched]:
    """A primary, its replicas and `n` Sentinels that know each other; up in about two seconds."""
    with servers.several() as make:
        primary = make(**_data(conf))
        follow = [f"127.0.0.1 {primary.port}"]
        copies = [make(replicaof=follow, **_data(conf)) for _ in range(replicas)]
        for one in (primary, *copies):
            one.ready()
        until(lambda: _linked(primary) == replicas, timeout=20, what="replicas in step")
        quorum = n // 2 + 1
        lines = [
            f"monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}",
            f"down-after-milliseconds {SERVICE} 800",
            f"failover-timeout {SERVICE} 4000",
        ]
        watchers = [make(servers.SentinelServer, sentinel=lines) for _ in range(n)]
        for one in watchers:
            one.ready()
        until(lambda: all(_knows(w, n, replicas) for w in watchers), timeout=30, what="Sentinels")
        yield Watched(primary, copies, watchers)


@contextlib.contextmanager
def cluster(
    n: int = 3, replicas: int = 0, *, binary: str = "", **conf: servers.Setting
) -> Iterator[Slotted]:
    """`n` primaries that share the slots evenly, with `replicas` each; up in about two seconds."""
    with servers.several(binary) as make:
        nodes = [_node(make, conf) for _ in range(n * (1 + replicas))]
        for node in nodes:
            node.ready()
        clients = [node.client(protocol=2) for node in nodes]
        bounds = [16384 * index // n for index in range(n + 1)]
        for index in range(n):
            clients[index].execute_command(
                "CLUSTER ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1
            )
        for index, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
        for node in nodes[1:]:
            port = int(str(node.settings["cluster-port"]))
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port, port)
        until(lambda: all(_state(c) == ("ok", len(nodes)) for c in clients), timeout=30, what="ok")
        for index in range(n, len(nodes)):
            owner = clients[index % n].execute_command("CLUSTER MYID")
            clients[index].execute_command("CLUSTER REPLICATE", owner)
        until(lambda: all(_linked(p) == replicas for p in nodes[:n]), timeout=20, what="replicas")
        yield Slotted(nodes, n)


def _data(conf: dict[str, servers.Setting]) -> dict[str, servers.Setting]:
    return {**servers.DEFAULTS, "repl-ping-replica-period": 1, **conf}


def _node(make: Callable[..., Server], conf: dict[str, servers.Setting]) -> Server:
    bus = free_ports(1)[0]
    own: dict[str, servers.Setting] = {
        "cluster-enabled": "yes",
        "cluster-port": bus,
        "cluster-node-timeout": 2000,
        "cluster-replica-validity-factor": 0,
    }
    return make(**_data({**own, **conf}))


def _linked(primary: Server) -> int:
    """How many replicas are online."""
    facts = primary.client().info("replication")
    return sum(
        1 for name, one in facts.items() if name.startswith("slave") and one["state"] == "online"
    )


def _knows(watcher: Server, sentinels: int, replicas: int) -> bool:
    rows = watcher.client(protocol=2).execute_command("SENTINEL MASTER", SERVICE)
    facts = rows if isinstance(rows, dict) else dict(zip(rows[::2], rows[1::2], strict=True))
    named = {_text(name): _text(value) for name, value in facts.items()}
    return (
        int(named["num-other-sentinels"]) == sentinels - 1 and int(named["num-slaves"]) == replicas
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _state(client: redis.Redis) -> tuple[str, int]:
    facts = client.execute_command("CLUSTER INFO")
    named = facts if isinstance(facts, dict) else _parsed(_text(facts))
    return str(named["cluster_state"]), int(named["cluster_known_nodes"])


def _parsed(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.split() if ":" in line)
