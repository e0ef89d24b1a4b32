"""Must show 4 and 6 for worker mode: what the line costs in time, and large bodies in memory.

Run alone (`-s` prints the figures): whatever else runs on the machine is part of what is measured.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.servers import valkey

from .latency import added_p50, one_ms
from .memory import Peak, rss
from .rawtarget import answer
from .rig import Site, site
from .test_messages import noise

MB = 1024 * 1024
pytestmark = pytest.mark.full


@pytest.fixture
def alone() -> Iterator[Site]:
    with valkey() as own, site(own) as here:
        here.up()
        yield here


@pytest.mark.alone
def test_the_line_adds_at_most_three_milliseconds(alone: Site) -> None:
    alone.target.default = one_ms
    rounds = added_p50(alone)
    best = min(rounds)
    print(
        f"\nworker mode adds {best:.2f} ms to the p50; rounds {[round(one, 2) for one in rounds]}"
    )
    assert best <= 3.0


@pytest.mark.parametrize("way", ["up", "down", "both"])
def test_nine_megabytes_pass_within_bounded_memory(alone: Site, way: str) -> None:
    body = noise(9 * MB)
    digest = hashlib.sha256(body).hexdigest()
    alone.target.default = answer(body if way != "up" else b"ok")
    took = []
    processes = {
        "gateway": alone.processes[-1].pid,
        "worker": alone.processes[0].children()[0],
    }
    with Peak(alone.server.client(), processes) as peak:
        for _ in range(5):
            began = time.monotonic()
            got = alone.ask(b"POST", b"/large", body=b"" if way == "down" else body)
            took.append((time.monotonic() - began) * 1000)
            assert got.status == 200
            if way != "up":
                assert hashlib.sha256(got.body).hexdigest() == digest
            if way != "down":
                seen = alone.target.seen[-1].body
                assert hashlib.sha256(seen).hexdigest() == digest
    print(f"\n9 MB {way}: p50 {statistics.median(took):.0f} ms; over base, MB: {peak}")
    assert peak.grown("redis") <= 32
    assert peak.grown("gateway") <= 90
    assert peak.grown("worker") <= 90


def test_large_requests_that_wait_are_not_held_by_the_gateway() -> None:
    with valkey() as own, site(own) as here:
        gateway = here.gateway()
        base = rss(gateway.pid)
        body = noise(5_000_000)
        calls = [here.later(b"POST", b"/wait", body=body) for _ in range(20)]
        here.waiting(20)
        time.sleep(0.5)
        grown = rss(gateway.pid) - base
        print(f"\n20 requests of 5 MB wait: the gateway grew by {grown:.0f} MB")
        assert grown < 100
        here.worker(1, 4, wait=False)
        assert {call.result().status for call in calls} == {200}
