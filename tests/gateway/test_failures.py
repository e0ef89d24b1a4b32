"""Targets that fail, lines that are full, clients that leave, Redis that goes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pyclient import Queue
from tests import servers
from tests.security.certificates import Certificates

from .stack import (
    ROOT,
    Gateway,
    Process,
    Reply,
    Stack,
    call,
    children,
    get,
    kill_all,
    raw,
    request,
    started,
    until,
    wipe,
)
from .target import Target

pytestmark = pytest.mark.leaves_processes


@pytest.mark.parametrize("path", ["/close", "/half"])
def test_a_target_that_breaks_off_is_a_502(stack: Stack, path: str) -> None:
    reply = call(stack.port, "POST", path, body=b"x")
    assert (reply.status, reply.json()["code"]) == (502, "upstream-broke")
    assert not reply.all(b"retry-after")


def test_a_target_that_talks_nonsense_is_a_502(stack: Stack) -> None:
    stack.target.said["a"] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"
    assert get(stack.port, "/said/a").status == 502


def test_a_target_that_is_too_slow_is_a_504_and_learns_that_nobody_waits(stack: Stack) -> None:
    began = time.monotonic()
    reply = get(stack.port, "/silent")
    assert (reply.status, reply.json()["code"]) == (504, "upstream-timeout")
    assert 1.8 < time.monotonic() - began < 4
    assert stack.target.left.wait(2)


def test_an_answer_that_is_too_long_is_a_502(stack: Stack) -> None:
    reply = get(stack.port, "/bytes/11000000")
    assert (reply.status, reply.json()["code"]) == (502, "upstream-large")


def test_the_answers_of_the_gateway_name_no_address(stack: Stack) -> None:
    for path in ("/close", "/bytes/11000000", "/../x"):
        reply = get(stack.port, path)
        assert b"127.0.0.1" not in reply.body
        assert b".sock" not in reply.body
        assert len(reply.all(b"date")) == len(reply.all(b"server")) == 1
        assert reply.all(b"cache-control") == [b"no-store"]


def test_a_client_that_leaves_the_line_takes_its_request_with_it(stack: Stack) -> None:
    blockers = [threading.Thread(target=get, args=(stack.port, "/gate/x")) for _ in range(8)]
    for thread in blockers:
        thread.start()
    until(lambda: stack.target.active == 8, "all slots are taken")
    leavers = [socket.create_connection(("127.0.0.1", stack.port)) for _ in range(50)]
    for number, sock in enumerate(leavers):
        sock.sendall(request("POST", f"/leaver/{number}", body=b"x"))
    until(lambda: _waiting(stack.port) == 50, "all wait")
    for sock in leavers:
        sock.close()
    until(lambda: _waiting(stack.port) == 0, "none waits")
    stack.target.gate.set()
    for thread in blockers:
        thread.join()
    assert get(stack.port, "/echo").status == 200
    assert stack.target.heads(b"/leaver/") == []


def _waiting(port: int) -> int:
    queue = get(port, "/gateway_health").json()["queue"]
    assert isinstance(queue, dict)
    return int(queue["high"]) + int(queue["low"])


@pytest.fixture
def short(
    redis: servers.Server, target: Target, tmp_path: Path
) -> Iterator[tuple[Gateway, dict[str, str]]]:
    """A gateway with a short line and a short patience, and no worker."""
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_QUEUE": "short",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_TTL": "1",
        "PEAK_MAX_QUEUE": "3",
        "PEAK_LEASE": "1",
    }
    gateway = Gateway(env, tmp_path)
    with started(gateway):
        yield gateway.ready(), env
    wipe(redis, "short")


def test_without_a_worker_the_wait_ends_in_a_503_and_the_request_never_runs(
    short: tuple[Gateway, dict[str, str]], target: Target, tmp_path: Path
) -> None:
    gateway, env = short
    began = time.monotonic()
    reply = get(gateway.port, "/late")
    assert 0.9 < time.monotonic() - began < 2
    assert (reply.status, reply.json()["code"]) == (503, "no-worker")
    assert int(reply.all(b"retry-after")[0]) >= 1
    with started(worker := Process(["worker_app"], env, tmp_path)):
        until(lambda: get(gateway.port, "/echo").status == 200, worker.output())
        assert target.heads(b"/late") == []
        # With the worker's one slot taken, the wait ends in a 504.
        blocker = threading.Thread(target=get, args=(gateway.port, "/gate/x"))
        blocker.start()
        until(lambda: target.active == 1, "the slot is taken")
        reply = get(gateway.port, "/later")
        assert (reply.status, reply.json()["code"]) == (504, "expired")
        target.gate.set()
        blocker.join()
        assert target.heads(b"/later") == []


def test_a_full_line_refuses_at_once_and_says_when_to_come_back(
    short: tuple[Gateway, dict[str, str]],
) -> None:
    gateway, _ = short
    with ExitStack() as held:
        for _ in range(3):
            sock = held.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            sock.sendall(request("GET", "/wait"))
        until(lambda: _waiting(gateway.port) == 3, "the line is full")
        began = time.monotonic()
        reply = get(gateway.port, "/one-more")
        assert time.monotonic() - began < 0.5
        assert (reply.status, reply.json()["code"]) == (503, "full")
        assert int(reply.all(b"retry-after")[0]) >= 1
        assert reply.all(b"content-type") == [b"application/problem+json"]


def test_without_redis_requests_get_a_503_and_pass_through_goes_on(
    target: Target, tmp_path: Path
) -> None:
    target.reset()
    with servers.valkey() as redis:
        env = {"PEAK_REDIS_URL": redis.url, "FAST_PRIORITY_TARGET_BASE_URL": target.url}
        gateway, worker = Gateway(env, tmp_path), Process(["worker_app"], env, tmp_path)
        with started(gateway, worker):
            port = gateway.ready().port
            assert get(port, "/echo").status == 200
            redis.kill()
            until(lambda: get(port, "/gateway_ready").status == 503, "not ready")
            began = time.monotonic()
            reply = get(port, "/echo")
            assert time.monotonic() - began < 2
            assert (reply.status, reply.json()["code"]) == (503, "unavailable")
            assert reply.all(b"retry-after")
            assert get(port, "/health").status == 200
            assert get(port, "/gateway_live").status == 200
            health = get(port, "/gateway_health").json()
            assert health["redis_reachable"] is False
            assert health["queue"] == {"high": None, "low": None}
            redis.start()
            until(lambda: get(port, "/echo").status == 200, "served again", timeout=20)


def test_a_gateway_starts_before_redis_does(target: Target, tmp_path: Path) -> None:
    with servers.valkey() as redis:
        redis.kill()
        env = {"PEAK_REDIS_URL": redis.url, "FAST_PRIORITY_TARGET_BASE_URL": target.url}
        with started(gateway := Gateway(env, tmp_path)):
            until(lambda: gateway.lines("gateway listens"), "listening")
            gateway.port = int(str(gateway.lines("gateway listens")[0]["url"]).rpartition(":")[2])
            until(lambda: raw(gateway.port, request("GET", "/gateway_live")), "live")
            assert get(gateway.port, "/gateway_ready").status == 503
            redis.start()
            gateway.ready()
            until(lambda: _capacity(redis) == 10_000, "settings are written")


def test_a_redis_that_comes_back_empty_gets_the_settings_again(stack: Stack) -> None:
    stack.redis.client().flushall()
    until(lambda: _capacity(stack.redis) == 10_000, "settings again")
    until(lambda: get(stack.port, "/echo").status == 200, "served again")


def _capacity(redis: servers.Server) -> int:
    async def ask() -> int:
        async with Queue.from_url(redis.url) as queue:
            return int((await queue.gauge())["capacity"])

    return asyncio.run(ask())


def test_nothing_of_a_request_stays_in_redis(stack: Stack) -> None:
    secret = b"X-Secret: CANARY-" + b"a" * 5000
    get(stack.port, "/echo", secret)
    call(stack.port, "POST", "/sha", body=b"CANARY" * 100_000)
    client = stack.redis.client()

    def clean() -> bool:
        return all(b"CANARY" not in (client.dump(key) or b"") for key in client.scan_iter())

    until(clean, "no trace of the request", timeout=5)


def test_a_worker_killed_in_the_middle_costs_a_post_a_502_and_a_get_nothing(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_QUEUE": "killed",
        "PEAK_LEASE": "1",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "PEAK_WORKER_CONCURRENCY": "2",
    }
    replies: dict[str, Reply] = {}

    def ask(method: str) -> None:
        replies[method] = call(gateway.port, method, f"/gate/{method}", timeout=20)

    gateway, worker = Gateway(env, tmp_path), Process(["worker_app"], env, tmp_path)
    with started(gateway, worker):
        gateway.ready()
        threads = [threading.Thread(target=ask, args=(method,)) for method in ("GET", "POST")]
        for thread in threads:
            thread.start()
        until(lambda: target.active == 2, "both run")
        kill_all(worker)
        with started(Process(["worker_app"], env, tmp_path)):
            until(lambda: len(target.heads(b"GET /gate")) == 2, "GET again")
            target.gate.set()
            for thread in threads:
                thread.join()
        assert (replies["GET"].status, replies["GET"].body) == (200, b"GET")
        assert (replies["POST"].status, replies["POST"].json()["code"]) == (502, "lost")
        assert len(target.heads(b"POST /gate")) == 1
    wipe(redis, "killed")


@pytest.mark.parametrize("how", ["no program", "no certificates"])
def test_a_process_that_fails_to_start_again_takes_no_other_along(
    redis: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    Certificates(tmp_path)
    program, ca = tmp_path / "python", tmp_path / "ca.crt"
    program.symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(sys, "executable", str(program))
    env = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(part for part in sys.path if part)]),
        "PEAK_REDIS_URL": redis.url,
        "PEAK_TARGET_CA": str(ca),
        "FAST_PRIORITY_TARGET_BASE_URL": "https://127.0.0.1:1",
    }
    with started(gateway := Gateway(env, tmp_path, "-w", "2")):
        port, began = gateway.ready().port, time.monotonic()
        until(lambda: time.monotonic() - began > 3, "old enough to be trusted")
        lost, hidden = (program if how == "no program" else ca), tmp_path / "hidden"
        lost.rename(hidden)
        victim, other = children(gateway.pid)
        os.kill(victim, signal.SIGKILL)
        said = "a process can't be started" if how == "no program" else "a gateway process ended"
        until(lambda: len(gateway.lines(said)) >= 2, "it fails to start")
        assert get(port, "/gateway_live").status == 200
        hidden.rename(lost)
        until(lambda: len(gateway.lines("Application startup complete.")) == 3, "a new one")
        assert other in children(gateway.pid)
        assert gateway.stop() == 0
