"""The link: replies by order, whatever callers do meanwhile; bounds; broken protocol."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pyclient.address import Endpoint
from pyclient.dial import Greeting, dial
from pyclient.errors import Unavailable
from pyclient.link import Limits, Link
from tests.faultproxy import FaultProxy
from tests.servers import Server

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def linked(server: Server, **options: Any) -> AsyncIterator[Link]:
    endpoint = Endpoint("", 0, server.url.removeprefix("unix://"))
    link = await dial(endpoint, Greeting(), **options)
    try:
        yield link
    finally:
        link.abort("the test is over")
        await link.wait_gone()


@asynccontextmanager
async def talking_to(talk: Talk) -> AsyncIterator[Link]:
    """A link to a server that says what the test wants; no handshake."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    _, link = await asyncio.get_running_loop().create_connection(Link, host, port)
    try:
        yield link
    finally:
        link.abort("the test is over")
        await link.wait_gone()
        server.close()
        await server.wait_closed()


async def test_replies_come_to_their_callers_in_order(server: Server) -> None:
    async with linked(server) as link:
        replies = await asyncio.gather(*(link.ask(("ECHO", f"{n}"), now() + 5) for n in range(500)))
    assert replies == [b"%d" % n for n in range(500)]


async def test_ten_thousand_calls_cancelled_at_random_mix_up_no_reply(server: Server) -> None:
    chance = random.Random(7)
    ended = {"ok": 0, "cancelled": 0}

    async def one(link: Link, number: int) -> None:
        call = asyncio.ensure_future(link.ask(("ECHO", f"{number}"), now() + 30))
        if chance.random() < 0.6:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            call.cancel()
        try:
            assert await call == b"%d" % number
            ended["ok"] += 1
        except asyncio.CancelledError:
            ended["cancelled"] += 1

    async with linked(server) as link:
        for start in range(0, 10_000, 500):
            await asyncio.gather(*(one(link, start + n) for n in range(500)))
        assert await link.ask(("ECHO", "last"), now() + 5) == b"last"
        assert link.waiting == 0
    assert ended["cancelled"] > 2000
    assert ended["ok"] > 2000


async def test_a_late_reply_ends_the_link_and_meets_no_other_call(server: Server) -> None:
    async with FaultProxy(server.url) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        link = await dial(Endpoint("127.0.0.1", port), Greeting())
        proxy.delay = lambda: 1.6
        late = asyncio.ensure_future(link.ask(("ECHO", "late"), now() + 1.1))
        await asyncio.sleep(0.05)
        behind = asyncio.ensure_future(link.ask(("ECHO", "behind"), now() + 9))
        for call in (late, behind):
            with pytest.raises(Unavailable) as caught:
                await call
            assert (caught.value.code, caught.value.unknown) == ("TIMEOUT", True)
        assert not link.usable
        with pytest.raises(Unavailable) as caught:
            await link.ask(("ECHO", "after"), now() + 5)
        assert not caught.value.unknown
        await link.wait_gone()


async def test_a_hasty_caller_fails_alone(server: Server) -> None:
    async with FaultProxy(server.url) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        link = await dial(Endpoint("127.0.0.1", port), Greeting())
        proxy.delay = lambda: 0.2
        calm = asyncio.ensure_future(link.ask(("ECHO", "calm"), now() + 5))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as caught:
            await link.ask(("ECHO", "hasty"), now() + 0.02)
        assert caught.value.unknown
        assert await calm == b"calm"
        assert await link.ask(("ECHO", "next"), now() + 5) == b"next"
        with pytest.raises(Unavailable) as caught:
            await link.ask(("ECHO", "too late"), now() - 1)
        assert not caught.value.unknown
        link.abort("over")
        await link.wait_gone()


async def test_calls_that_were_never_written_are_not_unknown(server: Server) -> None:
    async with linked(server) as link:
        written = link.send(("ECHO", "1"), now() + 5)
        queued = link.send(("ECHO", "2"), now() + 5)
        link.abort("cut")
        with pytest.raises(Unavailable) as caught:
            await written
        assert caught.value.unknown
        with pytest.raises(Unavailable) as caught:
            await queued
        assert not caught.value.unknown


async def test_an_error_reply_concerns_its_call_only(server: Server) -> None:
    async with linked(server) as link:
        replies = await asyncio.gather(
            link.ask(("ECHO", "1"), now() + 5),
            link.ask(("NOSUCHCOMMAND",), now() + 5),
            link.ask(("ECHO", "2"), now() + 5),
        )
    assert replies[0] == b"1"
    assert str(replies[1]).startswith("ERR unknown command")
    assert replies[2] == b"2"


async def test_an_argument_of_a_wrong_type_is_refused_before_anything_is_sent(
    server: Server,
) -> None:
    async with linked(server) as link:
        with pytest.raises(TypeError):
            await link.ask(("ECHO", None), now() + 5)  # type: ignore[arg-type]
        assert await link.ask(("ECHO", "1"), now() + 5) == b"1"


async def test_calls_beyond_the_bound_wait_for_room(server: Server) -> None:
    async with linked(server, limits=Limits(calls=4)) as link:
        peak = 0

        async def one(number: int) -> bytes:
            nonlocal peak
            peak = max(peak, link.waiting)
            reply: bytes = await link.ask(("ECHO", f"{number}"), now() + 5)
            return reply

        replies = await asyncio.gather(*(one(n) for n in range(8)))
        assert replies == [b"%d" % n for n in range(8)]
        assert peak <= 4


async def test_calls_beyond_twice_the_bound_are_refused_at_once(server: Server) -> None:
    async with linked(server, limits=Limits(calls=2)) as link:
        with server.paused():
            calls = [asyncio.ensure_future(link.ask(("PING",), now() + 5)) for _ in range(5)]
            await asyncio.sleep(0.01)
            with pytest.raises(Unavailable) as caught:
                calls[4].result()
            assert (caught.value.code, caught.value.unknown) == ("CROWDED", False)
        assert await asyncio.gather(*calls[:4]) == [b"PONG"] * 4


async def test_a_call_that_finds_no_room_in_time_was_not_sent(server: Server) -> None:
    async with linked(server, limits=Limits(calls=1)) as link:
        with server.paused():
            first = asyncio.ensure_future(link.ask(("PING",), now() + 5))
            await asyncio.sleep(0)
            with pytest.raises(Unavailable) as caught:
                await link.ask(("PING",), now() + 1.05)
            assert (caught.value.code, caught.value.unknown) == ("TIMEOUT", False)
        assert await first == b"PONG"


async def test_large_bodies_wait_while_the_socket_is_full(server: Server) -> None:
    body = b"x" * 300_000
    async with linked(server, limits=Limits(bytes=1 << 20)) as link:
        replies = await asyncio.gather(*(link.ask(("ECHO", body), now() + 20) for _ in range(40)))
    assert all(reply == body for reply in replies)


async def test_a_retired_link_answers_what_it_was_asked_and_ends(server: Server) -> None:
    async with linked(server) as link:
        asked = asyncio.ensure_future(link.ask(("ECHO", "1"), now() + 5))
        await asyncio.sleep(0)
        link.retire()
        assert not link.usable
        assert await asked == b"1"
        await asyncio.wait_for(link.wait_gone(), 5)


async def test_pushes_are_no_replies(server: Server) -> None:
    heard: list[list[Any]] = []
    async with linked(server, on_push=heard.append) as link, linked(server) as other:
        assert await link.ask(("SUBSCRIBE", "news"), now() + 5) == [b"subscribe", b"news", 1]
        await other.ask(("PUBLISH", "news", "hello"), now() + 5)
        assert (await link.ask(("PING",), now() + 5))[0] == b"pong"
        assert heard == [[b"message", b"news", b"hello"]]


@pytest.mark.parametrize("said", [b"+a\r\n+b\r\n", b"\x16\x03\x01TLS\r\n", b""])
async def test_what_is_no_answer_ends_the_link(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(said)
        await writer.drain()
        if not said:
            writer.close()
        await reader.read(1000)
        writer.close()

    async with talking_to(talk) as link:
        calls = [asyncio.ensure_future(link.ask(("PING",), now() + 5))]
        await asyncio.wait(calls)
        await asyncio.wait_for(link.wait_gone(), 5)
        assert not link.usable


async def test_a_push_that_nobody_asked_for_is_dropped() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b">2\r\n+moving\r\n:1\r\n+PONG\r\n")
        await reader.read(1000)
        writer.close()

    async with talking_to(talk) as link:
        assert await link.ask(("PING",), now() + 5) == b"PONG"
