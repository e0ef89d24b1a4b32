"""Hostile and oversized requests: refused with the right status, and the target never sees them."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests import servers

from .stack import Gateway, Reply, Stack, call, get, raw, read_all, request, started, until
from .target import Target

pytestmark = pytest.mark.leaves_processes

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil/allowed?x=\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_a_400(stack: Stack, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), 2) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        reply = Reply(read_all(sock))
    assert reply.status == 400
    assert reply.all(b"content-type") == [b"application/problem+json"]
    assert stack.target.heads() == []


@pytest.mark.parametrize(
    "path",
    "/a/../b /a/%2e%2e/b /..%2fb /%252e%252e/b /..;/b /./a /a\\b /%00 /a%0d%0ab /a#b".split(),
)
def test_a_path_that_climbs_or_hides_is_a_400(stack: Stack, path: str) -> None:
    reply = get(stack.port, path)
    assert (reply.status, reply.json()["code"]) == (400, "target")
    assert stack.target.heads() == []


def test_a_second_request_cannot_be_smuggled(stack: Stack) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw(stack.port, data + b"0\r\n\r\n" + inner, timeout=1)
    raw(
        stack.port,
        request("POST", "/x", b"Transfer-Encoding: identity", body=b"0") + inner,
        timeout=1,
    )
    assert stack.target.heads(b"smuggled") == []


def test_too_long_a_url_is_a_414(stack: Stack) -> None:
    assert get(stack.port, "/" + "a" * 9000).status == 414
    assert get(stack.port, "/?" + "a" * 8000).status == 200


@pytest.mark.parametrize("lines", [[b"X-A: " + b"a" * 40_000], [b"X-A: b"] * 120])
def test_too_many_headers_are_a_431(stack: Stack, lines: list[bytes]) -> None:
    assert get(stack.port, "/", *lines).status == 431


def test_a_head_without_end_is_a_431(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), 5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ")
        try:
            for _ in range(100):
                sock.sendall(b"a" * 10_000)
        except OSError:
            return  # closed while we were sending: as good as an answer
        assert Reply(read_all(sock)).status == 431


def test_a_body_that_is_announced_too_long_is_refused_before_it_comes(stack: Stack) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stack.port), 5) as sock:
        sock.sendall(head)
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_grows_too_long_is_refused_and_the_client_reads_why(stack: Stack) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", stack.port), 10) as sock:
        sock.sendall(head)
        for _ in range(20):
            sock.sendall(chunk)  # goes on after the answer, as simple clients do
        sock.sendall(b"0\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert stack.target.heads() == []


def test_a_websocket_in_worker_mode_is_told_of_hold_mode(stack: Stack) -> None:
    lines = [b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Key: x"]
    reply = get(stack.port, "/ws", *lines)
    assert reply.status == 501
    assert "PEAK_MODE=hold" in str(reply.json()["detail"])


def test_another_upgrade_is_not_offered(stack: Stack) -> None:
    assert get(stack.port, "/echo", b"Upgrade: h2c", b"HTTP2-Settings: x").status == 200
    assert b"upgrade" not in stack.target.heads()[0].lower()


def test_claims_about_the_client_are_not_believed(stack: Stack) -> None:
    get(
        stack.port,
        "/echo",
        b"X-Forwarded-Proto: https",
        b"X-Real-IP: 1.2.3.4",
        b"X_Forwarded_For: 1",
    )
    head = stack.target.heads()[0]
    assert b"x-forwarded-proto: http\r\n" in head
    assert b"1.2.3.4" not in head
    assert b"x_forwarded_for" not in head


def test_limits_hosts_and_proxies_are_settings(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_PASS_THROUGH": "echo",
        "PEAK_MAX_BODY": "1KiB",
        "PEAK_CLIENT_TIMEOUT": "500ms",
        "PEAK_ALLOWED_HOSTS": "gateway.test",
        "PEAK_TRUSTED_PROXIES": "127.0.0.1",
        "PEAK_PRESERVE_HOST": "1",
    }
    with started(gateway := Gateway(env, tmp_path)):
        port = _port(gateway)
        assert call(port, "POST", "/echo", body=b"x" * 1025).status == 413
        assert call(port, "POST", "/echo", body=b"x" * 1024).status == 200
        lost = b"GET / HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"
        assert raw(port, lost).startswith(b"HTTP/1.1 421 ")
        reply = get(port, "/echo", b"X-Forwarded-Proto: https", b"X-Forwarded-For: 1.2.3.4")
        assert b"x-forwarded-proto: https\r\n" in reply.body
        assert b"host: gateway.test\r\n" in reply.body
        _slow_head_and_body(port)


def _port(gateway: Gateway) -> int:
    until(lambda: gateway.lines("gateway listens"), "listening")
    port = int(str(gateway.lines("gateway listens")[0]["url"]).rpartition(":")[2])
    until(lambda: raw(port, request("GET", "/gateway_live")), "answers")
    return port


def _slow_head_and_body(port: int) -> None:
    began = time.monotonic()
    assert raw(port, b"GET / HTTP/1.1\r\nHost: gateway").startswith(b"HTTP/1.1 408 ")
    head = b"POST /echo HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 9\r\n\r\nab"
    assert raw(port, head).startswith(b"HTTP/1.1 408 ")
    assert raw(port, b"") == b""
    assert time.monotonic() - began < 5


def test_garbage_behind_a_request_does_not_cost_it_its_answer(stack: Stack) -> None:
    got = raw(stack.port, b"GET /slow/0.3 HTTP/1.1\r\nHost: a\r\n\r\n\x00\x01\r\n\r\n", timeout=5)
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"slow")


def test_an_upload_refused_in_the_middle_of_its_answer_breaks_it_off(
    redis: servers.Server, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as api:
        api.settimeout(20)
        env = {
            "PEAK_REDIS_URL": redis.url,
            "PEAK_MAX_BODY": "1000",
            "FAST_PRIORITY_TARGET_BASE_URL": f"http://127.0.0.1:{api.getsockname()[1]}",
            "FAST_PRIORITY_PASS_THROUGH": "x",
        }
        with started(gateway := Gateway(env, tmp_path)):
            port = gateway.ready().port
            with socket.create_connection(("127.0.0.1", port), 20) as sock:
                sock.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\n")
                sock.sendall(b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                with api.accept()[0] as peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                    assert b"200 OK" in sock.recv(65536)
                    sock.sendall(b"7d0\r\n%b\r\n" % (b"x" * 2000))
                    assert b"HTTP" not in read_all(sock)
            until(lambda: gateway.lines("request"), "logged")
            assert gateway.lines("request")[0]["code"] == "broke-off"
            assert "Traceback" not in gateway.output()
