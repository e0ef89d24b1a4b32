"""The operator's commands on a Cluster: what they list is that of all primaries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.support import run_json
from tests.topologies import Slotted, cluster

pytestmark = pytest.mark.faults

NAMES = [f"q{n}" for n in range(12)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Slotted]:
    with cluster(3) as slotted:
        for name in NAMES:
            run_json("queue", "set", name, "limit=1", "--json", "--url", address(slotted))
        yield slotted


def address(nodes: Slotted) -> str:
    return f"redis+cluster://127.0.0.1:{nodes.nodes[0].port}"


def test_queues_of_all_nodes_are_listed(nodes: Slotted) -> None:
    assert len({nodes.node_of(f"peak:{{{name}}}:").port for name in NAMES}) == 3
    found = run_json("queue", "ls", "--json", "--url", address(nodes))
    assert [one["queue"] for one in found] == sorted(NAMES)


def test_the_doctor_finds_strays_at_every_node(nodes: Slotted) -> None:
    strays = [f"peak:stray:{n}" for n in range(12)]
    assert len({nodes.node_of(key).port for key in strays}) == 3
    client = nodes.client()
    for key in strays:
        client.set(key, "x", ex=60)
    told = run_json("doctor", "--json", "--queue", "q0", "--url", address(nodes), code=1)
    for key in strays:
        client.delete(key)
    said = [one["text"] for one in told["findings"] if one["name"] == "keys"]
    assert len(said) == 1
    assert said[0].startswith("12 keys under the prefix belong to no queue")


def test_the_doctor_asks_the_node_of_the_queue(nodes: Slotted) -> None:
    """Whichever node the address names: its slot is looked at where it is."""
    for name in NAMES[:4]:
        found = run_json("doctor", "--json", "--queue", name, "--url", address(nodes))["findings"]
        slots = [one for one in found if one["name"] == "slot"]
        assert [one["state"] for one in slots] == ["ok"]
        assert any(f"queue '{name}': all invariants hold" in one["text"] for one in found)
