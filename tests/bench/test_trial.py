"""Our own adapters, through the line protocol, as a run drives them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.harness.cluster import Cluster
from bench.harness.server import Server, embedded_server
from bench.harness.trial import FIRST, backlog, round_trips
from bench.parts import scale


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(embedded_server()) as one:
        yield one


@pytest.mark.parametrize(
    "system", ["peakshaver.limits", pytest.param("bare", marks=pytest.mark.full)]
)
def test_a_trial_counts_round_trips_and_what_they_cost(server: Server, system: str) -> None:
    found = round_trips(system, server, (1, 8), 0.2)
    assert "failed" not in found
    for level in ("1", "8"):
        phase = found[level]
        assert phase["errors"] == phase["hung"] == 0
        assert phase["done"] > 10
        assert 0 < phase["p50"] <= phase["p99"] <= phase["max"]
        assert 0 < phase["script_calls"] < 4
        assert phase["script_us"] > 0


def test_a_backlog_is_enqueued_weighed_and_drained(server: Server) -> None:
    found = backlog("peakshaver", server, 500, 5.0)
    assert "failed" not in found
    assert found["drained"] == FIRST + 500
    assert found["enqueue_per_s"] > 0
    assert 250 < found["bytes_per_task"] < 2000


def test_a_system_that_cannot_run_is_reported_and_nothing_is_left(server: Server) -> None:
    found = round_trips("peakshaver.nonsense", server, (1,), 0.1)
    assert "the submitter ended" in found["failed"]


@pytest.mark.full
def test_a_queue_of_three_shards_on_a_cluster_of_two_nodes() -> None:
    with Cluster(embedded_server(), 2) as cluster:
        split = {"BENCH_URL": cluster.url, "BENCH_SHARDS": "3"}
        found = scale.several(cluster, 1, 0.3, **split)
        assert found["errors"] == 0
        assert found["rate"] > 10
        assert all(node.counters().calls.get("evalsha", 0) > 0 for node in cluster.nodes)
