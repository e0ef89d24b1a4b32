"""Connections that carry more than one request: each answer, and each end, is that of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests import servers

from .stack import Reply, Stack, holding, read_all, until, wipe
from .target import Target

pytestmark = pytest.mark.leaves_processes

PATIENCE_S = 20.0


def _connect(stack: Stack) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stack.port), PATIENCE_S)


def test_a_client_that_leaves_is_noticed_also_behind_its_own_earlier_request(hold: Stack) -> None:
    """The slot of the first is given back while the second runs already."""
    with _connect(hold) as sock:
        sock.sendall(
            b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /silent HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        until(lambda: hold.target.heads(b"/silent"), "the second runs")
    until(lambda: [x for x in hold.gateway.lines("request") if x["path"] == "/silent"], "its end")
    ends = [x["code"] for x in hold.gateway.lines("request") if x["path"] == "/silent"]
    assert ends == ["gone"]


def test_what_is_wrong_with_a_later_request_is_not_the_answer_to_an_earlier(hold: Stack) -> None:
    with _connect(hold) as sock:
        sock.sendall(
            b"GET /gate/first HTTP/1.1\r\nHost: a\r\n\r\n"
            b"POST /second HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"
        )
        until(lambda: hold.target.active == 1, "the first runs")
        hold.target.gate.set()
        got = read_all(sock)
    first, _, second = got.partition(b"first")
    assert Reply(first).status == 200
    assert (Reply(second).status, Reply(second).all(b"connection")) == (400, [b"close"])
    assert not hold.target.heads(b"/second")


def test_an_empty_line_behind_a_request_ends_nothing(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    more = {"PEAK_QUEUE": "lines", "PEAK_CLIENT_TIMEOUT": "0.5"}
    with holding(redis, target, tmp_path, **more) as stack, _connect(stack) as sock:
        sock.sendall(b"POST /gate/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na")
        until(lambda: target.active == 1, "it runs")
        sock.sendall(b"\r\n")
        with _connect(stack) as idle:
            assert idle.recv(1) == b""  # what came before it has had its time, too
        target.gate.set()
        assert sock.recv(65536).endswith(b"x")
    wipe(redis, "lines")
