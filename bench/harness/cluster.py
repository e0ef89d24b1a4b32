"""A Cluster of our own on loopback: so many nodes, the slots shared out evenly, no replicas."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType

from .server import Counters, Server, free_port

SLOTS = 16384
FORMING_S = 30.0


class Cluster:
    """Ends with the block. `ask` and `counters` are over all of its nodes."""

    def __init__(self, binary: str | None, nodes: int) -> None:
        self._stack = ExitStack()
        self.nodes = [
            self._stack.enter_context(Server(binary, settings=_settings())) for _ in range(nodes)
        ]
        self.name = self.nodes[0].name
        self.url = f"redis+cluster://127.0.0.1:{self.nodes[0].port}"
        self.port = self.nodes[0].port
        try:
            self._form()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def ask(self, *command: str | int) -> None:
        """Send a command to every node."""
        for node in self.nodes:
            node.ask(*command)

    def counters(self) -> Counters:
        """The sum over the nodes."""
        first, *others = (node.counters() for node in self.nodes)
        for one in others:
            first.add(one)
        return first

    def _form(self) -> None:
        """Slots, introductions, and agreement. Raises TimeoutError."""
        share = -(-SLOTS // len(self.nodes))
        for number, node in enumerate(self.nodes):
            last = min(SLOTS, (number + 1) * share) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", number * share, last)
            bus = node.ask("CONFIG", "GET", "cluster-port")[1].decode()
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        deadline = time.monotonic() + FORMING_S
        while not all(self._whole(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the cluster did not form within {FORMING_S:g} s")
            time.sleep(0.05)

    def _whole(self, node: Server) -> bool:
        info = node.ask("CLUSTER", "INFO").decode()
        return f"cluster_known_nodes:{len(self.nodes)}" in info and "cluster_state:ok" in info


def _settings() -> dict[str, str]:
    return {"cluster-enabled": "yes", "cluster-port": str(free_port())}
