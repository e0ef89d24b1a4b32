"""Hold mode: the gateway calls the target itself when its turn comes, and streams both ways."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests import servers

from .stack import Gateway, Reply, Stack, call, get, raw, request, started, until, wipe
from .target import Target, answer

pytestmark = pytest.mark.leaves_processes

CHUNKED = b"Host: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def test_a_request_needs_no_worker(hold: Stack) -> None:
    hold.target.said["a"] = answer(b"x", b"X-M: \xe9", b"X-M: 2")
    reply = get(hold.port, "/said/a", b"X-B: \xff")
    assert (reply.status, reply.body, reply.all(b"x-m")) == (200, b"x", [b"\xe9", b"2"])
    assert b"x-b: \xff\r\n" in hold.target.heads()[0]
    assert not reply.all(b"server-timing")


def test_events_arrive_as_they_are_sent(hold: Stack) -> None:
    with socket.create_connection(("127.0.0.1", hold.port), 5) as sock:
        sock.sendall(request("GET", "/sse/4"))
        delays = []
        while data := sock.recv(65536):
            now = time.monotonic()
            delays += [now - float(part.split(b"\n")[0]) for part in data.split(b"data: ")[1:]]
    assert len(delays) == 4
    assert max(delays) < 0.15


def test_an_upload_without_length_streams_through(hold: Stack) -> None:
    body = os.urandom(300_000)
    chunks = [
        b"%x\r\n%b\r\n" % (100_000, body[i : i + 100_000]) for i in range(0, 300_000, 100_000)
    ]
    got = raw(hold.port, b"POST /sha HTTP/1.1\r\n" + CHUNKED, *(chunks * 40), b"0\r\n\r\n")
    assert Reply(got).body == hashlib.sha256(body * 40).hexdigest().encode()


def test_a_long_download_is_whole(hold: Stack) -> None:
    assert len(get(hold.port, "/bytes/30000000", timeout=20).body) == 30_000_000


def test_no_more_run_at_one_time_than_there_are_slots(hold: Stack) -> None:
    replies: list[Reply] = []
    threads = [
        threading.Thread(target=lambda: replies.append(get(hold.port, "/slow/0.1")))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200] * 12
    assert hold.target.most_active == 2
    assert any(reply.all(b"peak-wait") for reply in replies)


def test_a_client_that_leaves_frees_its_slot(hold: Stack) -> None:
    socks = [socket.create_connection(("127.0.0.1", hold.port)) for _ in range(6)]
    for number, sock in enumerate(socks):
        sock.sendall(request("GET", f"/silent/{number}"))
    until(lambda: len(hold.target.heads(b"/silent")) == 2, "two run")
    run = b"\n".join(hold.target.heads(b"/silent"))
    # Those that wait go first: else one of them gets the slot of one that ran.
    for number in sorted(range(6), key=lambda number: b"/silent/%d " % number in run):
        socks[number].close()
    assert get(hold.port, "/echo", timeout=5).status == 200
    assert len(hold.target.heads(b"/silent")) == 2


def test_a_target_that_fails_has_a_status(hold: Stack) -> None:
    assert get(hold.port, "/close").json()["code"] == "upstream-broke"
    assert get(hold.port, "/silent").json()["code"] == "upstream-timeout"
    assert get(hold.port, "/echo").status == 200


def test_half_an_answer_is_not_passed_off_as_a_whole_one(hold: Stack) -> None:
    reply = get(hold.port, "/half")
    assert (reply.status, reply.all(b"content-length"), reply.body) == (200, [b"100"], b"half")
    hold.target.said["a"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    hold.target.closes = True
    assert not get(hold.port, "/said/a").raw.endswith(b"0\r\n\r\n")


def test_a_websocket_is_joined_byte_by_byte(hold: Stack) -> None:
    lines = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k", b"X-B: \xe9"]
    head = b"GET /ws HTTP/1.1\r\nHost: a\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    with socket.create_connection(("127.0.0.1", hold.port), 5) as sock:
        sock.sendall(head)
        got = b""
        while not got.endswith(b"hello"):
            got += sock.recv(65536)
        assert got.startswith(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n")
        assert b"sec-websocket-accept: x\r\n" in got
        sent = os.urandom(200_000)
        threading.Thread(target=sock.sendall, args=(sent,)).start()
        back = b""
        while len(back) < len(sent):
            back += sock.recv(65536)
        assert back == sent
    seen = hold.target.heads(b"/ws")[0]
    assert b"upgrade: websocket\r\nconnection: upgrade\r\n" in seen
    assert b"sec-websocket-key: k\r\nx-b: \xe9\r\n" in seen
    until(lambda: get(hold.port, "/slow/0").status == 200, "the slot is free again")


def test_a_target_that_declines_a_websocket_is_heard(hold: Stack) -> None:
    hold.target.said["a"] = answer(b"no", status=b"403 Forbidden")
    reply = get(hold.port, "/said/a", b"Upgrade: websocket", b"Connection: upgrade")
    assert (reply.status, reply.body) == (403, b"no")


def test_an_early_answer_to_an_upload_reaches_the_client(hold: Stack) -> None:
    hold.target.said["a"] = answer(b"enough", status=b"413 Content Too Large")
    with socket.create_connection(("127.0.0.1", hold.port), 5) as sock:
        sock.sendall(b"POST /said/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_the_slots_of_a_killed_gateway_come_back(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_QUEUE": "slots",
        "PEAK_MODE": "hold",
        "PEAK_CONCURRENCY": "2",
        "PEAK_LEASE": "1",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
    }
    one, two = Gateway(env, tmp_path), Gateway(env, tmp_path)
    with started(one, two):
        one.ready()
        two.ready()
        threads = [
            threading.Thread(target=raw, args=(one.port, request("GET", "/gate/x"))) for _ in "12"
        ]
        for thread in threads:
            thread.start()
        until(lambda: target.active == 2, "both slots are taken")
        one.popen.send_signal(signal.SIGKILL)
        began = time.monotonic()
        assert get(two.port, "/echo", timeout=10).status == 200
        assert time.monotonic() - began < 3
        target.gate.set()
        for thread in threads:
            thread.join()
    wipe(redis, "slots")


def test_without_a_turn_in_time_it_is_a_504(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_QUEUE": "turns",
        "PEAK_MODE": "hold",
        "PEAK_CONCURRENCY": "1",
        "PEAK_MAX_QUEUE": "2",
        "FAST_PRIORITY_TTL": "0.7",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
    }
    with started(gateway := Gateway(env, tmp_path)):
        port = gateway.ready().port
        replies: list[Reply] = []
        threads = [threading.Thread(target=get, args=(port, "/gate/x"))]
        threads[0].start()
        until(lambda: target.active == 1, "the slot is taken")
        for _ in range(3):
            threads.append(
                threading.Thread(target=lambda: replies.append(call(port, "POST", "/never")))
            )
            threads[-1].start()
        until(lambda: len(replies) == 3, "all are answered", timeout=5)
        target.gate.set()
        for thread in threads:
            thread.join()
    codes = sorted(str(reply.json()["code"]) for reply in replies)
    assert codes == ["expired", "expired", "full"]
    assert target.heads(b"/never") == []
    wipe(redis, "turns")


def test_the_health_page_counts_those_who_wait_for_a_turn(hold: Stack) -> None:
    threads = [threading.Thread(target=get, args=(hold.port, "/gate/x")) for _ in range(5)]
    for thread in threads:
        thread.start()
    waiting = {"high": 3, "low": 0}
    until(lambda: get(hold.port, "/gateway_health").json()["queue"] == waiting, "counted")
    hold.target.gate.set()
    for thread in threads:
        thread.join()
