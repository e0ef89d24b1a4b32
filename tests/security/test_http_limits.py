"""Clients that send too much, too slowly, or never stop: bounded in size, in time and in memory."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from tests.gateway.stack import Gateway, Reply, Stack, children, get, read_all, request, until
from tests.gateway.target import Target

pytestmark = pytest.mark.leaves_processes
HEAD = b"POST /up HTTP/1.1\r\nHost: h\r\n"  # passed through: in hold mode bodies have no limit
HELD = b"POST /a HTTP/1.1\r\nHost: h\r\n"
GROWTH = 16 * 1024  # KiB


@pytest.fixture
def gateway(hold: Stack) -> Gateway:
    return hold.gateway


def memory(gateway: Gateway) -> int:
    """KiB that the gateway and its processes have in memory."""
    total = 0
    for pid in (gateway.pid, *children(gateway.pid)):
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.partition("VmRSS:")[2].split()[0])
    return total


def pour(port: int, first: bytes, piece: bytes, times: int) -> bytes:
    """Send and go on sending, whatever comes back; then what came back."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(first)
            for _ in range(times):
                sock.sendall(piece)
        sock.settimeout(1.5)  # the rest of a body that was refused may still be waited for
        return read_all(sock)


@pytest.mark.parametrize(
    ("first", "piece", "times", "statuses"),
    [
        (b"GET /" + b"a" * 9000, b"a" * 100_000, 20, {414}),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: ", b"a" * 100_000, 20, {431}),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", b"A: b\r\n" * 10_000, 20, {431}),
        (b"G" * 100, b"G" * 100_000, 20, {400, 431}),
        (HEAD + b"Content-Length: 1099511627776\r\n\r\n", b"x" * 100_000, 100, {413}),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
            b"186a0\r\n%b\r\n" % (b"x" * 100_000),
            100,
            {413},
        ),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;", b"x" * 100_000, 100, {400, 408}),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
            b"A: b\r\n" * 10_000,
            100,
            {200, 400, 408, 431},
        ),
    ],
    ids="target line lines method length chunks extension trailer".split(),
)
def test_more_than_is_taken_costs_no_memory(
    gateway: Gateway, first: bytes, piece: bytes, times: int, statuses: set[int]
) -> None:
    before = memory(gateway)
    reply = Reply(pour(gateway.port, first, piece, times))
    # The end of the connection may overtake the answer where the client goes on sending.
    assert reply.status in statuses | {0}
    assert memory(gateway) - before < GROWTH
    assert get(gateway.port, "/a").status == 200


@pytest.mark.parametrize(("count", "status"), [(96, 200), (99, 431)])
def test_a_hundred_lines_are_taken(gateway: Gateway, count: int, status: int) -> None:
    """With Host, Connection and the one for the end it is `count` + 2."""
    assert get(gateway.port, "/a", *[b"A: b"] * count).status == status


def test_slow_heads_and_bodies_are_ended_and_others_do_not_wait(gateway: Gateway) -> None:
    slow = [socket.create_connection(("127.0.0.1", gateway.port), 10) for _ in range(200)]
    try:
        for number, sock in enumerate(slow):
            half = b"Content-Length: 9\r\n\r\nab" if number % 2 else b"X-A: "
            sock.sendall(HELD + half)
        began = time.monotonic()
        took = []
        while time.monotonic() - began < 0.8:
            asked = time.monotonic()
            assert get(gateway.port, "/a").status == 200
            took.append(time.monotonic() - asked)
        assert sorted(took)[len(took) // 2] < 0.25
        for sock in slow:
            answer = Reply(read_all(sock))
            assert answer.status == 408, answer.raw
        assert time.monotonic() - began < 8
    finally:
        for sock in slow:
            sock.close()


def test_a_byte_now_and_then_does_not_buy_time_for_a_head(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in request("GET", "/" + "a" * 200):
                sock.sendall(bytes([byte]))
                time.sleep(0.05)
                if time.monotonic() - began > 5:
                    break
        assert time.monotonic() - began < 4
        assert Reply(read_all(sock)).status in (0, 408)


def test_an_idle_connection_is_closed_in_silence(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
        assert read_all(sock) == b""


def test_pipelined_requests_are_answered_in_order_to_the_first_that_is_wrong(
    gateway: Gateway, target: Target
) -> None:
    target.reset()
    good = [b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(50)]
    bad = HELD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        sock.sendall(b"".join([*good, bad, b"GET /behind HTTP/1.1\r\nHost: h\r\n\r\n"]))
        got = read_all(sock)
    assert got.count(b"HTTP/1.1 200 OK") == 50
    assert b"/behind" not in got
    until(lambda: len(target.heads()) == 50, "all good ones")
    assert [head.split(b" ")[1] for head in target.heads()] == [b"/%d" % n for n in range(50)]
