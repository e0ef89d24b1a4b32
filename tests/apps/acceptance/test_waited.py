"""What an answer that waited says of its wait."""

from __future__ import annotations

import re
import time

import pytest

from tests.servers import Server, until

from .rawclient import Got, connected
from .rawtarget import Gate
from .rig import site


def _timing(got: Got) -> dict[str, float]:
    """Server-Timing as a browser reads it."""
    said = b", ".join(got.values(b"server-timing")).decode()
    return {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", said)}


def _number(got: Got, name: bytes) -> int:
    (value,) = got.values(name)
    return int(value)


@pytest.mark.parametrize("mode", ["worker", "hold"])
def test_what_waited_says_how_long_and_how_many_stood_before_it(redis: Server, mode: str) -> None:
    with site(redis, PEAK_MODE=mode, PEAK_CONCURRENCY="1", FAST_PRIORITY_PRIO_PATHS="low") as here:
        here.gateway()
        if mode == "worker":
            here.worker()
        gate = Gate()
        here.target.answers[b"/first"] = gate
        calls = [here.later(b"GET", b"/first")]
        until(lambda: here.target.at(b"/first"), what="a busy target")
        for count, path in enumerate((b"/low", b"/a", b"/b", b"/low", b"/c"), start=1):
            calls.append(here.later(b"POST", path, body=b"x" * 5000))
            here.waiting(count)
            time.sleep(0.15)  # until it has been asked about
        gate.open()
        first, low, a, b, low_too, c = (call.result() for call in calls)
    # It waited for a busy machine at most.
    assert all(int(value) < 500 for value in first.values(b"peak-wait"))
    assert first.values(b"peak-position") in ([], [b"0"])
    # High ones stand before low ones, whenever they come.
    assert [_number(one, b"peak-position") for one in (low, a, b, low_too, c)] == [0, 0, 1, 3, 2]
    for one in (low, a, b, low_too, c):
        assert one.status == 200
        assert _timing(one)["queue"] == _number(one, b"peak-wait") >= 150
    assert _number(low, b"peak-wait") > _number(low_too, b"peak-wait")


def test_the_time_for_the_upload_is_no_wait(redis: Server) -> None:
    with site(redis) as here:
        here.up()
        with connected(here.port) as client:
            client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
            time.sleep(0.4)
            client.send(b"cd")
            got = client.answer()
        assert got.status == 200
        assert all(int(value) < 300 for value in got.values(b"peak-wait"))


@pytest.mark.parametrize("mode", ["worker", "hold"])
def test_what_waited_for_nothing_says_so_too(redis: Server, mode: str) -> None:
    with site(redis, PEAK_MODE=mode, PEAK_CONCURRENCY="1", FAST_PRIORITY_TTL="0.5") as here:
        here.gateway()
        if mode == "hold":
            gate = Gate()
            here.target.answers[b"/first"] = gate
            running = here.later(b"GET", b"/first")
            until(lambda: here.target.at(b"/first"), what="a busy target")
        got = here.ask(b"GET", b"/late")
        assert got.status == (503 if mode == "worker" else 504)
        assert 450 < _number(got, b"peak-wait") < 2000
        assert _number(got, b"peak-position") == 0
        if mode == "hold":
            gate.open()
            assert running.result().status == 200
