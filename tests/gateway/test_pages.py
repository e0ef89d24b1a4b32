"""The gateway's own pages, the target's docs, pass-through, and which requests are urgent."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests import servers

from .stack import Gateway, Process, Stack, call, get, started, until
from .target import PAGE, Target, answer, silent_server

pytestmark = pytest.mark.leaves_processes


def test_the_health_page_has_the_old_form(stack: Stack) -> None:
    assert get(stack.port, "/gateway_health").json() == {
        "target_reachable": True,
        "redis_reachable": True,
        "queue": {"high": 0, "low": 0},
    }


def test_the_health_page_counts_high_and_low(stack: Stack) -> None:
    paths = ["/gate/x"] * 8 + ["/low/1", "/low/2", "/high"]
    threads = [threading.Thread(target=get, args=(stack.port, path)) for path in paths[:8]]
    threads += [threading.Thread(target=get, args=(stack.port, path)) for path in paths[8:]]
    for thread in threads[:8]:
        thread.start()
    until(lambda: stack.target.active == 8, "all slots are taken")
    for thread in threads[8:]:
        thread.start()
    expected = {"high": 1, "low": 2}
    until(lambda: get(stack.port, "/gateway_health").json()["queue"] == expected, "counted")
    stack.target.gate.set()
    for thread in threads:
        thread.join()


def test_high_requests_go_before_low_ones(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_QUEUE": "order",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_PRIO_PATHS": "/low",
    }
    gateway, worker = Gateway(env, tmp_path), Process(["worker_app"], env, tmp_path)
    with started(gateway, worker):
        port = gateway.ready().port
        threads = [threading.Thread(target=get, args=(port, "/gate/x"))]
        threads[0].start()
        until(lambda: target.active == 1, "the slot is taken")
        for number, path in enumerate(["/low?1", "/low/?2", "/low?3", "/high?4", "/high?5"], 1):
            threads.append(threading.Thread(target=get, args=(port, path)))
            threads[-1].start()
            until(lambda n=number: _depth(port) == n, "it waits")
        target.gate.set()
        for thread in threads:
            thread.join()
    order = [head.split(b" ")[1] for head in target.heads()]
    assert [path for path in order if b"?" in path] == [
        b"/high?4",
        b"/high?5",
        b"/low?1",
        b"/low/?2",
        b"/low?3",
    ]


def _depth(port: int) -> int:
    queue = get(port, "/gateway_health").json()["queue"]
    assert isinstance(queue, dict)
    return int(queue["high"]) + int(queue["low"])


def test_a_silent_target_is_unreachable_within_two_seconds(
    redis: servers.Server, tmp_path: Path
) -> None:
    sock, close = silent_server()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_QUEUE": "silent",
        "FAST_PRIORITY_TARGET_BASE_URL": f"http://127.0.0.1:{sock.getsockname()[1]}",
        "FAST_PRIORITY_HEALTH_PATH": "/my_health",
        "FAST_PRIORITY_DOC_PATH": "/my_docs",
        "PEAK_UPSTREAM_TIMEOUT": "1",
    }
    with started(gateway := Gateway(env, tmp_path)):
        port = gateway.ready().port
        began = time.monotonic()
        found = get(port, "/my_health").json()
        assert time.monotonic() - began < 2
        assert (found["target_reachable"], found["redis_reachable"]) == (False, True)
        assert b"<title>" in get(port, "/my_docs").body
        assert get(port, "/health").status == 504
        assert get(port, "/docs").status == 504
        close()
        assert get(port, "/my_health").json()["target_reachable"] is False
        reply = get(port, "/health")
        assert (reply.status, reply.json()["code"]) == (502, "upstream-connect")
        assert get(port, "/target_openapi.json").status == 502


@pytest.mark.parametrize("path", ["/gateway_docs", "/gateway_redoc", "/openapi.json"])
def test_the_gateway_has_docs_of_its_own(stack: Stack, path: str) -> None:
    reply = get(stack.port, path)
    assert reply.status == 200
    assert len(reply.all(b"date")) == len(reply.all(b"server")) == 1
    assert b"peakshaver gateway" in reply.body
    assert stack.target.heads() == []


@pytest.mark.parametrize("packs", [False, True])
def test_the_targets_docs_point_to_its_schema_through_the_gateway(
    stack: Stack,
    packs: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    stack.target.packs = packs
    reply = get(stack.port, "/docs", b"Accept-Encoding: gzip")
    assert reply.body == PAGE.replace(b"/openapi.json", b"/target_openapi.json")
    assert not reply.all(b"content-encoding")
    assert reply.all(b"content-length") == [b"%d" % len(reply.body)]


def test_the_targets_schema_is_its_own(stack: Stack) -> None:
    assert get(stack.port, "/target_openapi.json").status == 200
    assert stack.target.heads()[0].startswith(b"GET /openapi.json HTTP/1.1\r\n")


def test_other_methods_on_a_page_go_to_the_target(stack: Stack) -> None:
    assert call(stack.port, "POST", "/gateway_live", body=b"x").status == 200
    assert len(stack.target.heads(b"POST /gateway_live")) == 1


@pytest.mark.parametrize("path", ["/health", "/health/", "/health?x=1"])
def test_pass_through_does_not_queue(stack: Stack, path: str) -> None:
    before = stack.redis.client().info("commandstats").get("cmdstat_xadd", {"calls": 0})["calls"]
    reply = call(stack.port, "POST", path, b"X-B: \xe9", body=b"abc")
    assert reply.status == 200
    assert reply.body.endswith(b"\r\n\r\nabc")
    assert b"x-b: \xe9\r\n" in reply.body
    after = stack.redis.client().info("commandstats").get("cmdstat_xadd", {"calls": 0})["calls"]
    assert before == after


def test_pass_through_streams_what_the_target_says(stack: Stack, tmp_path: Path) -> None:
    stack.target.said["a"] = answer(b"x", b"Set-Cookie: a", b"Set-Cookie: b")
    assert get(stack.port, "/said/a").all(b"set-cookie") == [b"a", b"b"]


def test_live_and_ready(stack: Stack) -> None:
    assert get(stack.port, "/gateway_live").json() == {"live": True}
    assert get(stack.port, "/gateway_ready").json() == {"ready": True}
