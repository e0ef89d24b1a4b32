"""Nothing acknowledged is lost: switches of the primary, and slots that move, under load."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.pyclient import redis_faults as faults
from tests.pyclient.loss import measure
from tests.topologies import Slotted, cluster

pytestmark = [pytest.mark.faults, pytest.mark.full]
N = 3


@pytest.mark.parametrize("fault", ["kill", "stop", "bare", "planned", "coordinated"])
async def test_a_switch_under_sentinels_loses_nothing(fault: str) -> None:
    with faults.watched("replicated") as servers:
        url = f"{servers.url}?durability=replicated"
        report = await measure(url, bound(faults.FAULTS[fault], servers), seconds=10)
    assert (report.lost, report.unsettled) == (0, 0), report
    assert report.acked > 500
    assert report.gap_s < 9


@pytest.mark.parametrize("fault", ["kill", "planned"])
async def test_a_switch_in_a_cluster_loses_nothing(fault: str) -> None:
    with cluster(3, replicas=2, **faults.GUARD) as servers:
        url = f"{servers.url}?durability=replicated"
        report = await measure(url, bound(faults.FAULTS[fault], servers), seconds=10)
    assert (report.lost, report.unsettled) == (0, 0), report
    assert report.acked > 500
    assert report.gap_s < 9


async def test_a_shard_moves_under_load_without_loss_or_double() -> None:
    """CLUSTER MIGRATESLOTS of Valkey 9, there and back and there again."""
    with cluster(3) as servers:
        report = await measure(servers.url, bound(_wander, servers), seconds=10, shards=N)
    print(f"longest gap while a shard moved: {report.gap_s} s")
    assert (report.lost, report.doubled, report.unsettled) == (0, 0, 0), report
    assert report.acked + sum(report.refused.values()) > 1500
    assert not report.refused
    assert report.gap_s < 2


def _wander(servers: Slotted) -> None:
    key = f"peak:{{loss/{N - 1}}}:"
    for _ in range(3):
        here = servers.node_of(key)
        there = next(one for one in servers.primaries if one is not here)
        faults.migrate(servers, key, there)
        time.sleep(1)


def bound(fault: Callable[[Any], None], servers: Any) -> Callable[[], None]:
    """The fault as a call without arguments."""
    return lambda: fault(servers)
