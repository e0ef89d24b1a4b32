"""Nothing acknowledged is lost: switches of the primary, and slots that move, under load."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import QueueClosed
from tests.pyclient import redis_faults as faults
from tests.pyclient.loss import measure
from tests.topologies import Slotted, cluster
from tests.worker.rig import serving
from worker_app import Worker

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


@pytest.mark.needs_redis
async def test_a_closed_and_drained_shard_moves_on_redis_7() -> None:
    """The procedure of docs/how-to/cluster.md, where slots move key by key."""
    binary = shutil.which("redis-server")
    assert binary is not None
    with cluster(3, binary=binary) as servers:
        first = await _drained(servers)
        for shard in range(N):
            for end in ("", ".hold"):
                key = f"peak:{{move/{shard}{end}}}:"
                here = servers.node_of(key)
                there = next(one for one in servers.primaries if one is not here)
                await asyncio.to_thread(faults.move_key_by_key, servers, key, there)
        async with Queue.from_url(servers.url, name="move", shards=N) as queue:
            for number, task_id in enumerate(first):
                assert await (await queue.attach(task_id)).result(timeout=5) == number
            gauge = await queue.gauge()
            assert (gauge["state"], gauge["capacity"]) == ("closed", 5000)
            await queue.resume()
            async with serving(_echoing(servers)):
                calls = (queue.call("echo", n, timeout=20) for n in range(300))
                assert await asyncio.gather(*calls) == list(range(300))


async def _drained(servers: Slotted) -> list[str]:
    """Tasks under load, the queue closed in the middle, and waited for; ids in their order."""
    acked: dict[int, str] = {}
    async with Queue.from_url(servers.url, name="move", shards=N) as queue:
        await queue.configure(capacity=5000)
        async with serving(_echoing(servers)):
            with contextlib.suppress(QueueClosed):
                for number in range(100_000):
                    if number == 500:
                        await queue.close("moving")
                    acked[number] = (await queue.submit("echo", number, keep=600)).id
            assert len(acked) == 500
            await _until_empty(queue)
    return [acked[number] for number in range(len(acked))]


async def _until_empty(queue: Queue) -> None:
    while True:
        gauge = await queue.gauge()
        if not gauge["waiting"] + gauge["running"] + gauge["due"]:
            return
        await asyncio.sleep(0.05)


def _echoing(servers: Slotted) -> Worker:
    worker = Worker("move", url=servers.url, shards=N)

    @worker.route("echo")
    async def echo(payload: int) -> int:
        return payload

    return worker


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
