"""B31–B33, B35–B37: killed workers and gateways, a Redis that stops or stalls."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.servers import Server, until, valkey

from .rawclient import connected, request
from .rawtarget import Gate, Seen, Wire, answer
from .rig import PROBE, Site, site

LEASE = 1.0


def first_hangs(here: Site, path: bytes) -> None:
    """The first request of a path is never answered, further ones are."""

    def script(seen: Seen, wire: Wire) -> None:
        if len(here.target.at(path)) == 1:
            wire.gone(30)
        else:
            wire.send(answer(b"second try"))

    here.target.answers[path] = script


@pytest.mark.faults
@pytest.mark.parametrize("whole", [True, False], ids=["supervisor too", "process alone"])
def test_b31_b32_a_killed_workers_request_is_answered_within_a_lease(
    redis: Server, *, whole: bool
) -> None:
    with site(redis, PEAK_LEASE=f"{LEASE:g}") as here:
        worker = here.worker(1, 4, wait=False)
        here.gateway()
        here.probe()
        first_hangs(here, b"/get")
        first_hangs(here, b"/post")
        first_hangs(here, b"/keyed")
        get = here.later(b"GET", b"/get")
        post = here.later(b"POST", b"/post", body=b"pay")
        keyed = here.later(b"POST", b"/keyed", b"Idempotency-Key: 8e03978e", body=b"pay")
        until(lambda: len(here.target.seen) == 3, what="three running requests")
        began = time.monotonic()
        if whole:
            worker.kill_all()
            here.worker(1, 4, wait=False)
        else:
            os.kill(worker.children()[0], signal.SIGKILL)
        lost = post.result()
        assert (lost.status, lost.problem["code"]) == (502, "lost")
        assert time.monotonic() - began < LEASE + 1
        assert (get.result().status, get.result().body) == (200, b"second try")
        assert (keyed.result().status, keyed.result().body) == (200, b"second try")
        assert len(here.target.at(b"/post")) == 1
        assert [seen.body for seen in here.target.at(b"/keyed")] == [b"pay", b"pay"]


@pytest.mark.faults
def test_b33_a_stopped_worker_finishes_and_leaves_the_rest_to_others(redis: Server) -> None:
    with site(redis) as here:
        worker = here.worker(2, 1, wait=False)
        here.gateway()
        here.probe()
        gate = Gate()
        here.target.answers[b"/busy"] = gate
        running = [here.later(b"POST", b"/busy", body=b"1") for _ in range(2)]
        until(lambda: len(here.target.at(b"/busy")) == 2, what="two busy workers")
        queued = [here.later(b"GET", b"/queued") for _ in range(3)]
        here.waiting(3)
        worker.terminate()
        time.sleep(0.3)
        assert worker.running()
        gate.open()
        assert worker.wait(10) == 0
        assert [call.result().status for call in running] == [200, 200]
        assert here.target.at(b"/queued") == []
        here.worker(1, 1, wait=False)
        assert [call.result().status for call in queued] == [200] * 3
        assert len(here.target.at(b"/queued")) == 3


@pytest.mark.faults
def test_b35_a_killed_gateway_takes_its_waiting_requests_along(redis: Server) -> None:
    with site(redis, PEAK_LEASE=f"{LEASE:g}", FAST_PRIORITY_TTL="300") as here:
        doomed = here.gateway()
        with connected(doomed.port) as client:
            client.send(request(b"GET", b"/orphan"))
            here.waiting(1)
            other = here.gateway()  # which nobody asks for anything but pages
            here.port = other.port
            doomed.kill_all()
        began = time.monotonic()
        until(lambda: here.gauge()["queue"]["high"] == 0, what="an empty line")
        assert time.monotonic() - began < LEASE + 1
        here.worker()
        assert here.target.at(b"/orphan") == []


def test_b35_a_stopped_gateway_answers_what_waits(redis: Server) -> None:
    with site(redis, PEAK_DRAIN_TIMEOUT="0.5") as here:
        gateway = here.gateway()
        waiting = here.later(b"GET", b"/never")
        here.waiting(1)
        gateway.terminate()
        got = waiting.result()
        assert (got.status, got.problem["code"]) == (503, "stopping")
        assert gateway.wait(5) == 0
        here.port = here.gateway().port
        here.waiting(0)


@pytest.mark.faults
def test_b36_a_restart_of_redis_needs_no_other_restart() -> None:
    with valkey() as own, site(own, PEAK_LEASE="2") as here:
        worker = here.worker(1, 1, wait=False)
        gateway = here.gateway()
        here.probe()
        gate = Gate()
        here.target.answers[b"/running"] = gate
        running = here.later(b"GET", b"/running")
        until(lambda: here.target.at(b"/running"), what="a running request")
        waiting = [here.later(b"GET", b"/waiting") for _ in range(5)]
        here.waiting(5)
        own.kill()
        time.sleep(1)
        own.start()
        gate.open()
        began = time.monotonic()
        until(lambda: here.ask(b"GET", PROBE).status == 200, what="service again")
        assert time.monotonic() - began < 5
        assert {call.result().status for call in [running, *waiting]} <= {200, 502, 503}
        assert worker.running()
        assert gateway.running()
        assert len(worker.children()) == 1
        assert len(worker.said().splitlines()) < 40


@pytest.mark.faults
def test_b36_while_redis_is_away_requests_are_refused_at_once() -> None:
    with valkey() as own, site(own) as here:
        here.gateway()
        own.kill()
        for _ in range(3):
            got = here.ask(b"GET", b"/any")
            assert (got.status, got.problem["status"]) == (503, 503)
            assert got.took < 6


@pytest.mark.faults
def test_b37_a_stalled_redis_stalls_only_the_line() -> None:
    with valkey() as own, site(own) as here:
        here.up(1, 4)
        with own.paused():
            stuck = here.later(b"GET", b"/stuck")
            time.sleep(0.3)
            for path in (b"/gateway_live", b"/gateway_docs", b"/health", b"/docs"):
                took = min(here.ask(b"GET", path).took for _ in range(5))
                assert took < 0.05, path
        assert stuck.result().status in (200, 503)
        assert here.ask(b"GET", b"/after").status == 200
