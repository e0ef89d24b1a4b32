"""A request and its answer through gateway, queue and worker: the bytes that went in come out."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

from .stack import Reply, Stack, call, get, raw, request, until
from .target import answer

pytestmark = pytest.mark.leaves_processes


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"]
)
def test_every_method_reaches_the_target(stack: Stack, method: str) -> None:
    reply = call(stack.port, method, "/echo?x=1")
    assert reply.status == 200
    assert stack.target.heads()[0].startswith(f"{method} /echo?x=1 HTTP/1.1\r\n".encode())
    assert (reply.body == b"") is (method == "HEAD")


@pytest.mark.parametrize(
    "path",
    [
        *"/a%2Fb /a%3Fb /a%23b /a%25b /a%20b /%C3%A9 //a /a;b=1/c /a? /a?? /?x=%26&x=2".split(),
        *("/?y=%2B+z", "/a?b=../c", "/~a/b'(c)", '/a"<>^`{|}b', "/a?q=\\"),
    ],
)
def test_the_request_target_is_not_touched(stack: Stack, path: str) -> None:
    assert get(stack.port, path).status == 200
    assert stack.target.heads()[0].split(b" ")[1] == path.encode()


def test_headers_keep_value_order_and_repetition(stack: Stack) -> None:
    lines = [b"X-B: \xe9\xff", b"Cookie: a=b", b"X-B: two", b"X-Empty:", b"Authorization: Basic x"]
    get(
        stack.port,
        "/echo",
        *lines,
        b"TE: trailers",
        b"Proxy-Authorization: y",
        b"X-Forwarded-For: 1.2.3.4",
    )
    port = stack.target.server_address[1]
    assert stack.target.heads()[0].split(b"\r\n")[1:] == [
        b"host: 127.0.0.1:%d" % port,
        b"x-b: \xe9\xff",
        b"cookie: a=b",
        b"x-b: two",
        b"x-empty: ",
        b"authorization: Basic x",
        b"x-forwarded-for: 1.2.3.4, 127.0.0.1",
        b"x-forwarded-proto: http",
        b"x-forwarded-host: gateway.test",
        b"via: 1.1 peakshaver",
        b"",
        b"",
    ]


def test_the_answers_headers_keep_value_order_and_repetition(stack: Stack) -> None:
    lines = [b"Set-Cookie: a=1; Expires=Tue, 25 Nov", b"X-M: \xe9", b"set-cookie: b", b"ETag: W/x"]
    stack.target.said["a"] = answer(b"x", *lines, b"Connection: X-Gone", b"X-Gone: 1")
    reply = get(stack.port, "/said/a")
    assert reply.pairs == [
        (b"date", b"Tue, 25 Nov 2026 10:00:00 GMT"),
        (b"server", b"target"),
        (b"set-cookie", b"a=1; Expires=Tue, 25 Nov"),
        (b"x-m", b"\xe9"),
        (b"set-cookie", b"b"),
        (b"etag", b"W/x"),
        (b"content-length", b"1"),
        (b"connection", b"close"),
    ]


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        (answer(b"\x1f\x8b\x00", b"Content-Encoding: gzip"), 200, b"\x1f\x8b\x00"),
        (answer(b"", b"Location: /b", status=b"302 Found"), 302, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', 304, b""),
        (answer(b"tea", status=b"418 I'm a teapot"), 418, b"tea"),
        (answer(b"no", status=b"503 Service Unavailable"), 503, b"no"),
        (
            answer(b"part", b"Content-Range: bytes 0-3/9", status=b"206 Partial Content"),
            206,
            b"part",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            200,
            b"abc",
        ),
    ],
)
def test_status_and_body_come_back_as_they_are(
    stack: Stack, said: bytes, status: int, body: bytes
) -> None:
    stack.target.said["a"] = said
    reply = get(stack.port, "/said/a")
    assert (reply.status, reply.body) == (status, body)
    assert not reply.all(b"transfer-encoding")
    assert len(reply.all(b"date")) == len(reply.all(b"server")) == 1
    assert len(reply.all(b"content-length")) == (0 if status in (204, 304) else 1)
    if status == 302:
        assert reply.all(b"location") == [b"/b"]


def test_head_keeps_the_length_of_what_it_does_not_send(stack: Stack) -> None:
    stack.target.said["a"] = b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"
    reply = call(stack.port, "HEAD", "/said/a")
    assert (reply.all(b"content-length"), reply.body) == ([b"12345"], b"")


@pytest.mark.parametrize("size", [0, 1, 4000, 100_000, 9_900_000])
def test_bodies_of_all_sizes_arrive_whole(stack: Stack, size: int) -> None:
    body = os.urandom(size)
    reply = call(stack.port, "POST", "/sha", body=body, timeout=20)
    assert reply.body == hashlib.sha256(body).hexdigest().encode()
    if size < 100_000:
        assert get(stack.port, f"/bytes/{size}").body == b"x" * size


def test_a_large_answer_arrives_whole(stack: Stack) -> None:
    assert len(get(stack.port, "/bytes/9900000", timeout=20).body) == 9_900_000


def test_a_chunked_upload_reaches_the_target(stack: Stack) -> None:
    head = (
        b"POST /sha HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    reply = Reply(raw(stack.port, head, b"5\r\nhello\r\n", b"6\r\n world\r\n", b"0\r\n\r\n"))
    assert reply.body == hashlib.sha256(b"hello world").hexdigest().encode()


def test_an_expected_continue_is_answered(stack: Stack) -> None:
    got = raw(stack.port, request("POST", "/sha", b"Expect: 100-continue", body=b"abc"))
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"expect" not in stack.target.heads()[0]


def test_requests_on_one_connection_are_answered_in_order(stack: Stack) -> None:
    one = b"GET /said/1 HTTP/1.1\r\nHost: a\r\n\r\n"
    stack.target.said |= {"1": answer(b"first"), "2": answer(b"second")}
    got = raw(stack.port, one + request("GET", "/said/2"))
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.index(b"first") < got.index(b"second")


def test_an_idle_system_adds_little_time(stack: Stack) -> None:
    get(stack.port, "/echo")
    began = time.perf_counter()
    for _ in range(20):
        assert get(stack.port, "/echo").status == 200
    assert (time.perf_counter() - began) / 20 < 0.05


def test_a_request_that_waited_says_how_long(stack: Stack) -> None:
    threads = [threading.Thread(target=get, args=(stack.port, "/gate/x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: stack.target.active == 8, "all slots are taken")
    late: list[Reply] = []
    waiting = threading.Thread(target=lambda: late.append(get(stack.port, "/echo")))
    waiting.start()
    time.sleep(0.3)
    stack.target.gate.set()
    for thread in [*threads, waiting]:
        thread.join()
    (timing,) = late[0].all(b"server-timing")
    assert timing.startswith(b"queue;dur=")
    assert 150 < int(late[0].all(b"peak-wait")[0]) < 5000
    assert not get(stack.port, "/echo").all(b"server-timing")
