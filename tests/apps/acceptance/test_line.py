"""B21–B23, B30, B34, B38, B45: order, speed, and the ways out of the line.

B14 (server-sent events) belongs to hold mode and is tested with it.
"""

from __future__ import annotations

import statistics
import time

import pytest

from tests.servers import Server, until

from .rawclient import connected, request
from .rawtarget import Gate, Seen, Wire, answer
from .rig import PROBE, Later, Site, site


def line_up(here: Site, *paths: bytes) -> list[Later]:
    """Requests one after the other into the line; each waits before the next comes."""
    calls = []
    for number, path in enumerate(paths, 1):
        calls.append(here.later(b"GET", path))
        here.waiting(number)
    return calls


def busy(here: Site) -> tuple[Gate, Later]:
    """Occupy the only slot until the gate is opened."""
    gate = Gate()
    here.target.answers[b"/busy"] = gate
    call = here.later(b"GET", b"/busy")
    until(lambda: here.target.at(b"/busy"), what="a busy worker")
    return gate, call


def order(here: Site) -> list[bytes]:
    """Which of /low/… and /high/… the target got, in order."""
    found = [seen.target for seen in here.target.seen]
    return [target for target in found if target.startswith((b"/low/", b"/high/"))]


def test_b21_high_goes_first_and_each_level_keeps_its_order(redis: Server) -> None:
    with site(redis, FAST_PRIORITY_PRIO_BASE_PATHS="low") as here:
        here.up()
        gate, call = busy(here)
        paths = [b"/low/1", b"/low/2", b"/high/1", b"/low/3", b"/high/2", b"/high/3"]
        calls = line_up(here, *paths)
        gate.open()
        assert all(one.result().status == 200 for one in [call, *calls])
        high = [b"/high/1", b"/high/2", b"/high/3"]
        assert order(here) == [*high, b"/low/1", b"/low/2", b"/low/3"]


@pytest.mark.parametrize(("step", "place"), [("0.4", 0), ("", -1)], ids=["step", "strict"])
def test_b22_a_level_step_keeps_low_from_starving(redis: Server, step: str, place: int) -> None:
    with site(redis, FAST_PRIORITY_PRIO_BASE_PATHS="low", PEAK_LEVEL_STEP=step) as here:
        here.up()
        gate, _ = busy(here)
        first = line_up(here, b"/low/1")
        time.sleep(0.7)  # more than a step ahead of what comes now
        rest = [here.later(b"GET", b"/high/%d" % n) for n in range(3)]
        here.waiting(4)
        gate.open()
        assert all(one.result().status == 200 for one in [*first, *rest])
        assert order(here)[place] == b"/low/1"


def test_b23_an_idle_system_answers_at_once(here: Site) -> None:
    def one_ms(seen: Seen, wire: Wire) -> None:
        time.sleep(0.001)
        wire.send(answer(b"quick"))

    here.target.default = one_ms
    took = []
    for _ in range(20):
        began = time.monotonic()
        assert here.ask(b"GET", b"/quick").body == b"quick"
        took.append(time.monotonic() - began)
    assert statistics.median(took) < 0.05
    assert sorted(took)[-3] < 0.2


def test_b30_without_a_worker_it_is_503_at_the_ttl_and_never_runs(redis: Server) -> None:
    with site(redis, FAST_PRIORITY_TTL="0.8") as here:
        here.gateway()
        began = time.monotonic()
        got = here.ask(b"POST", b"/late", body=b"x" * 5000)
        took = time.monotonic() - began
        assert (got.status, got.problem["code"]) == (503, "no-worker")
        assert got.values(b"retry-after")
        assert 0.75 < took < 1.6
        here.worker(wait=False)
        until(lambda: here.ask(b"GET", PROBE).status == 200, timeout=20, what="a worker")
        assert here.target.at(b"/late") == []


def test_b30_with_a_busy_worker_it_is_504_at_the_ttl_and_never_runs(redis: Server) -> None:
    with site(redis, FAST_PRIORITY_TTL="0.8") as here:
        here.worker(wait=False)
        here.gateway()
        until(lambda: here.ask(b"GET", PROBE).status == 200, timeout=20, what="a worker")
        gate, call = busy(here)
        began = time.monotonic()
        got = here.ask(b"GET", b"/late")
        assert (got.status, got.problem["code"]) == (504, "expired")
        assert 0.75 < time.monotonic() - began < 1.6
        assert not call.done()  # what runs is not bounded by the time in line
        gate.open()
        assert call.result().status == 200
        assert here.ask(b"GET", b"/next").status == 200
        assert here.target.at(b"/late") == []


def test_b34_who_leaves_the_line_is_not_sent_to_the_target(redis: Server) -> None:
    with site(redis) as here:
        here.up()
        gate, call = busy(here)
        with connected(here.port) as client:
            client.send(request(b"POST", b"/left", body=b"x" * 5000))
            here.waiting(1)
        here.waiting(0)
        gate.open()
        assert call.result().status == 200
        assert here.ask(b"GET", b"/next").status == 200
        assert here.target.at(b"/left") == []


def test_b38_a_full_line_refuses_at_once(redis: Server) -> None:
    with site(redis, PEAK_MAX_QUEUE="3") as here:
        here.up()
        gate, call = busy(here)
        calls = line_up(here, b"/1", b"/2", b"/3")
        for size in (10, 5000):
            got = here.ask(b"POST", b"/4", body=b"x" * size)
            assert (got.status, got.problem["code"]) == (503, "full")
            assert int(got.values(b"retry-after")[0]) >= 1
            assert got.took < 0.5
        assert here.ask(b"GET", b"/health").status == 200  # passes by the line
        gate.open()
        assert all(one.result().status == 200 for one in [call, *calls])
        assert here.ask(b"POST", b"/5", body=b"x" * 5000).status == 200
        assert here.target.at(b"/4") == []


def test_b45_a_websocket_is_refused_with_a_word_on_where_it_works(here: Site) -> None:
    lines = (
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    got = here.ask(b"GET", b"/socket", *lines)
    assert got.status == 501
    assert "PEAK_MODE=hold" in got.problem["detail"]
    assert here.target.seen == []


def test_b45_an_upgrade_that_connection_does_not_name_is_not_meant_for_the_gateway(
    here: Site,
) -> None:
    assert here.ask(b"GET", b"/plain", b"Upgrade: websocket").status == 200
    assert b"upgrade" not in here.target.one(b"/plain").head.lower()


def test_b45_other_upgrades_are_plain_requests(here: Site) -> None:
    lines = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    assert here.ask(b"GET", b"/plain", *lines).status == 200
    assert b"upgrade" not in here.target.one(b"/plain").head.lower()
