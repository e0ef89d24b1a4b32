"""Must show 4 and 6 for worker mode: what the line costs in time, and large bodies in memory.

Run alone (`-s` prints the figures): whatever else runs on the machine is part of what is measured.
"""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import valkey

from .rawclient import RawClient, connected, request
from .rawtarget import Seen, Wire, answer
from .rig import Site, site
from .test_messages import noise

MB = 1024 * 1024
pytestmark = pytest.mark.full


@pytest.fixture
def alone() -> Iterator[Site]:
    with valkey() as own, site(own) as here:
        here.up()
        yield here


def one_ms(seen: Seen, wire: Wire) -> None:
    time.sleep(0.001)
    wire.send(answer(b"x" * 100))


def _round(client: RawClient) -> float:
    began = time.perf_counter()
    client.send(request(b"GET", b"/quick"))
    assert client.answer().status == 200
    return (time.perf_counter() - began) * 1000


def test_the_line_adds_at_most_three_milliseconds(alone: Site) -> None:
    alone.target.default = one_ms
    best = []
    with connected(alone.port) as queued, connected(alone.target.port) as direct:
        for _ in range(5):
            through, past = [], []
            for _ in range(200):
                through.append(_round(queued))
                past.append(_round(direct))
            best.append((statistics.median(through) - statistics.median(past), past, through))
    added, past, through = min(best)
    print(
        f"\nadded p50 {added:.2f} ms (direct {statistics.median(past):.2f}, "
        f"through {statistics.median(through):.2f}, p99 {sorted(through)[-2]:.2f}); "
        f"all rounds {[round(one[0], 2) for one in best]}"
    )
    assert added <= 3.0


class Peak:
    """The highest memory of Redis and of processes while a block runs, MB."""

    def __init__(self, here: Site) -> None:
        self._client = here.server.client()
        self._processes = {
            "gateway": here.processes[-1].pid,
            "worker": here.processes[0].children()[0],
        }
        self.base = self._now()
        self.most = dict(self.base)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _now(self) -> dict[str, float]:
        found = {name: _rss(pid) for name, pid in self._processes.items()}
        found["redis"] = int(self._client.info("memory")["used_memory"]) / MB
        return found

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            for name, value in self._now().items():
                self.most[name] = max(self.most[name], value)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _rss(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / MB


@pytest.mark.parametrize("way", ["up", "down", "both"])
def test_nine_megabytes_pass_within_bounded_memory(alone: Site, way: str) -> None:
    body = noise(9 * MB)
    digest = hashlib.sha256(body).hexdigest()
    alone.target.default = answer(body if way != "up" else b"ok")
    took = []
    with Peak(alone) as peak:
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
    grown = {name: peak.most[name] - peak.base[name] for name in peak.base}
    print(
        f"\n9 MB {way}: p50 {statistics.median(took):.0f} ms; over base, MB: "
        + ", ".join(f"{name} {grown[name]:.1f} (peak {peak.most[name]:.0f})" for name in grown)
    )
    assert grown["redis"] <= 32
    assert grown["gateway"] <= 90
    assert grown["worker"] <= 90


def test_large_requests_that_wait_are_not_held_by_the_gateway() -> None:
    with valkey() as own, site(own) as here:
        gateway = here.gateway()
        base = _rss(gateway.pid)
        body = noise(5_000_000)
        calls = [here.later(b"POST", b"/wait", body=body) for _ in range(20)]
        here.waiting(20)
        time.sleep(0.5)
        grown = _rss(gateway.pid) - base
        print(f"\n20 requests of 5 MB wait: the gateway grew by {grown:.0f} MB")
        assert grown < 100
        here.worker(1, 4, wait=False)
        assert {call.result().status for call in calls} == {200}
