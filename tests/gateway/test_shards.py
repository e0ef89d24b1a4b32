"""Gateway and worker of a queue with shards, in both modes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import servers
from tests.gateway.stack import Gateway, Process, get, started
from tests.gateway.target import Target

pytestmark = pytest.mark.full
N = 3


@pytest.mark.parametrize("mode", ["worker", "hold"])
def test_requests_go_over_all_shards(
    redis: servers.Server, target: Target, tmp_path: Path, mode: str
) -> None:
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_SHARDS": str(N),
        "PEAK_QUEUE": f"web-{mode}",
        "PEAK_MODE": mode,
        "PEAK_CONCURRENCY": "6",
        "PEAK_WORKER_CONCURRENCY": "6",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
    }
    gateway = Gateway(env, tmp_path)
    worker = [Process(["worker_app"], env, tmp_path)] if mode == "worker" else []
    with started(gateway, *worker), ThreadPoolExecutor(16) as pool:
        port = gateway.ready().port
        answers = list(pool.map(lambda n: get(port, f"/x{n}").status, range(120)))
    assert answers == [200] * 120
    end = ".hold" if mode == "hold" else ""
    client = redis.client(protocol=2)
    limits = [client.exists(f"peak:{{web-{mode}/{n}{end}}}:clock") for n in range(N)]
    assert limits == [1] * N
