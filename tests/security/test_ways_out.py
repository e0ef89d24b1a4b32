"""Where the gateway goes, and what it hands on: to the configured target alone, byte for byte."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.gateway.stack import Reply, Stack, call, children, get
from tests.gateway.target import answer
from tests.security.test_http_guard import exchange, seen, statuses
from tests.security.test_http_limits import memory

pytestmark = pytest.mark.leaves_processes
# `{}` is the address of a server that nobody may call.
URLS = """
    http://{}/x https://{}/x //{}/x ///{}/x /\\{} /%5c{} /@{} /x@{}/ /x%40{} /{}@x /.{} /x:80@{}/
    /?url=http://{}/ /#@{}/ /%23@{}/ /x%23@{} /;@{} /%2f%2f{} /..//{} /%2e%2e//{} /x/../../{}
    http:{} http:/{} http:///{} file://{}/x gopher://{}/x ftp://{}/ ws://{}/ unix:{} {} @{} ?@{}
    /%00@{} /x?@{} /x?#@{} //x@{}/ //{}%2f..%2f //{}%00 //%7b{} http://x@{}/ http://x:y@{}/
    http://{}%2f@x/ http://{}#@x/ http://{}?@x/ http://[::1]@{}/ http://{}.x/ http://x.{}/
""".split()


@pytest.fixture(scope="module")
def forbidden() -> Iterator[tuple[str, list[object]]]:
    """A listener, and those who called it."""
    sock = socket.create_server(("127.0.0.1", 0))
    callers: list[object] = []

    def accept() -> None:
        while True:
            try:
                connection, peer = sock.accept()
            except OSError:
                return
            callers.append(peer)
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"127.0.0.1:{sock.getsockname()[1]}", callers
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()
    thread.join(5)


def test_no_target_leads_elsewhere(hold: Stack, forbidden: tuple[str, list[object]]) -> None:
    there, callers = forbidden
    for url in URLS:
        target = url.format(there).encode()
        for name in (b"Host", b"X-Forwarded-Host", b"X-Original-URL", b"X-Rewrite-URL"):
            lines = b"%b: %b\r\n" % (name, there.encode())
            if name != b"Host":
                lines += b"Host: h\r\n"
            got = exchange(
                hold.port, b"GET %b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (target, lines)
            )
            assert statuses(got)[0] in (200, 400), (target, got)
        assert set(seen(hold)) <= {target}
        hold.target.reset()
    assert callers == []


def test_a_redirect_is_not_followed(hold: Stack, forbidden: tuple[str, list[object]]) -> None:
    there, callers = forbidden
    line = f"Location: http://{there}/latest/meta-data".encode()
    hold.target.said["away"] = answer(b"", line, status=b"302 Found")
    reply = get(hold.port, "/said/away")
    assert (reply.status, reply.all(b"location")) == (302, [line[10:]])
    assert callers == []


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_what_is_packed_stays_packed_both_ways(hold: Stack, coding: bytes) -> None:
    """16 KB that unpack to 16 MB: they pass as the bytes that they are."""
    bomb = gzip.compress(bytes(16 << 20), 6)
    hold.target.said["bomb"] = answer(bomb, b"Content-Encoding: " + coding)
    before = memory(hold.gateway)
    assert get(hold.port, "/said/bomb", b"Accept-Encoding: " + coding).body == bomb
    call(hold.port, "POST", "/a", b"Content-Encoding: " + coding, body=bomb)
    assert hold.target.seen[-1][1] == bomb
    assert memory(hold.gateway) - before < 8 * 1024


XSS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{7*7}}",
    "\u2028<svg/onload=1>",
]


@pytest.mark.parametrize("text", XSS)
def test_what_the_gateway_says_itself_is_no_page(hold: Stack, text: str) -> None:
    """Refusals are JSON, and repeat nothing of the request."""
    raw = text.encode()
    for sent in (
        b"GET /../%b HTTP/1.1\r\nHost: h\r\n" % raw.replace(b" ", b"%20"),
        b"GET /a HTTP/1.1\r\nHost: %b\r\n" % raw,
        b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: %b\r\n" % raw,
        b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: %b\r\n" % raw,
    ):
        reply = Reply(exchange(hold.port, sent + b"Connection: close\r\n\r\n"))
        assert reply.status == 400
        assert reply.all(b"content-type") == [b"application/problem+json"]
        assert raw not in reply.body
        assert b"alert" not in reply.body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_page_of_the_gateway_changes_anything(hold: Stack, method: str) -> None:
    """There is nothing to forge: what is no GET belongs to the target, pages of ours or not."""
    for path in ("/health", "/gateway_live", "/gateway_ready", "/gateway_docs", "/openapi.json"):
        hold.target.reset()
        lines = (b"Origin: http://evil.example", b"Content-Type: text/plain")
        assert call(hold.port, method, path, *lines, body=b"{}").status == 200
        assert seen(hold) == (path.encode(),)


def test_children_of_the_gateway_are_none(hold: Stack) -> None:
    """It starts no programs for requests."""
    before = children(hold.gateway.pid)
    get(hold.port, "/a;id|id`id`$(id)".replace("`", "%60").replace("|", "%7c"))
    assert children(hold.gateway.pid) == before
