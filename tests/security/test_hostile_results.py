"""Who can write to Redis writes what it likes as the answer to a request: the client still gets one
whole answer of HTTP, and the connection stays in step.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from pyclient.codec import INLINE_BYTES
from pyclient.connection import Connection
from tests import servers
from tests.gateway.stack import Gateway, Reply, read_all, started
from tests.gateway.target import Target
from tests.security.users import raw_commands

pytestmark = pytest.mark.leaves_processes
OK = b"R1 200 5 ok OK\r\n"
ASKED = b"GET /x HTTP/1.1\r\nHost: h\r\n%b\r\n"


@pytest.fixture(scope="module")
def gateway(
    redis: servers.Server, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    env = {
        "PEAK_REDIS_URL": redis.url,
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_TTL": "20",
        "PEAK_QUEUE": "hostile",
    }
    with started(gateway := Gateway(env, tmp_path_factory.mktemp("hostile"))):
        yield gateway.ready()


async def answered(url: str, word: str, body: bytes) -> None:
    """As a worker: take the next task and answer with these bytes."""
    async with raw_commands(url, "hostile") as line:
        for _ in range(500):
            claimed = await line.claim("evil", 0, 1, 9)
            if claimed.tasks:
                task = claimed.tasks[0]
                if len(body) > INLINE_BYTES:
                    key = line.keys.answer_body(task.id)
                    await stored(url, key, body[1:])
                    body = body[:1].upper()
                await line.publish("evil", 0, 0, 9, [(task.id, task.fence, word, body)])
                return
            await asyncio.sleep(0.01)
        raise AssertionError("no task came")


async def stored(url: str, key: bytes, value: bytes) -> None:
    """A large body, where its reader looks for it."""
    conn = Connection(url)
    await conn.open()
    await conn.command("SET", key, value, "PX", 60_000)
    await conn.aclose()


def exchange(gateway: Gateway, url: str, word: str, body: bytes) -> bytes:
    """A request that gets this result, and one behind it on the same connection: a page."""
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        page = b"GET /gateway_live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        sock.sendall(ASKED % b"" + page)
        asyncio.run(answered(url, word, body))
        return read_all(sock)


SPLIT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
HOSTILE = {
    "nothing": b"",
    "no envelope": b"rhello",
    "an answer as it stands on the wire": b"r" + SPLIT,
    "half a head": b"r" + OK + b"A: b\r\n",
    "another version": b"rR2 200 5 ok OK\r\n\r\n",
    "another body kind": b"m\xa5hello",
    "a request": b"rP1 - GET / http://evil\r\n\r\n",
    "a line break in a value": b"r" + OK + b"A: b\nB: c\r\n\r\n",
    "a carriage return in a value": b"r" + OK + b"A: b\rB: c\r\n\r\n",
    "a NUL in a value": b"r" + OK + b"A: b\0\r\n\r\n",
    "a blank in a name": b"r" + OK + b"A b: c\r\n\r\n",
    "no name": b"r" + OK + b": c\r\n\r\n",
    "no colon": b"r" + OK + b"A\r\n\r\n",
    "a folded line": b"r" + OK + b"A: b\r\n c\r\n\r\n",
    "an answer in the reason": b"rR1 200 5 ok OK\rContent-Length: 0\r\n\r\n",
    "status 99": b"rR1 99 5 ok OK\r\n\r\n",
    "status 101": b"rR1 101 5 ok OK\r\n\r\n",
    "status 700": b"rR1 700 5 ok OK\r\n\r\n",
    "status 1e2": b"rR1 1e2 5 ok OK\r\n\r\n",
    "a time that is none": b"rR1 200 -5 ok OK\r\n\r\n",
    "a head of 3 MiB": b"r" + OK + (b"A: " + b"b" * 1000 + b"\r\n") * 3000 + b"\r\n",
    "a body that is elsewhere and is not": b"R",
}
# These are whole; what would lie about their framing is left out or put right.
PUT_RIGHT = {
    "chunked that is not": OK + b"Transfer-Encoding: chunked\r\n\r\nhello",
    "too short a length": OK + b"Content-Length: 1\r\n\r\nhello",
    "too long a length": OK + b"Content-Length: 99\r\n\r\nhello",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhello",
    "a length that is a word": OK + b"Content-Length: all\r\n\r\nhello",
    "an upgrade": OK + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    "a body where none may be": b"R1 204 5 ok No\r\n\r\nhello",
    "a body of not modified": b"R1 304 5 ok No\r\n\r\nhello",
    "an answer behind it": OK + b"\r\nhello" + SPLIT,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_answer_is_a_502(gateway: Gateway, redis: servers.Server, name: str) -> None:
    got = exchange(gateway, redis.url, "done", HOSTILE[name])
    first = Reply(got)
    assert first.status in (502, 503), got
    assert b"evil" not in got
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 1, got


@pytest.mark.parametrize("name", PUT_RIGHT)
def test_framing_is_ours_whatever_the_result_says(
    gateway: Gateway, redis: servers.Server, name: str
) -> None:
    got = exchange(gateway, redis.url, "done", b"r" + PUT_RIGHT[name])
    first, length = Reply(got), 0
    assert first.all(b"transfer-encoding") == first.all(b"upgrade") == []
    if first.status == 200:
        (said,) = first.all(b"content-length")
        length = int(said)
        assert length >= 5
    assert first.body[length:].startswith(b"HTTP/1.1 200 OK\r\n"), got


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\r\n\r\nHTTP/1.1 200 OK", b"x" * 4000])
def test_the_words_of_a_failure_stay_in_the_body(
    gateway: Gateway, redis: servers.Server, body: bytes
) -> None:
    got = exchange(gateway, redis.url, "failed", body)
    first = Reply(got)
    assert first.status in (502, 503)
    length = int(first.all(b"content-length")[0])
    assert length < 10_000
    assert first.body[length:].startswith(b"HTTP/1.1 200 OK\r\n")
