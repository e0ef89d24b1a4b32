"""The client's sockets: each request is answered once, by its own answer, or is told as lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from pyclient.demo.wire import Answer, Wires
from tests.demo.answers import reply
from tests.pyclient.client_rig import until

Heard = list[Answer | None]
OK = Answer(200, None)


class Talk:
    """A server that leaves each connection to the test; `asked` are the paths of all requests."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone = 0
        self.port = 0

    async def request(self, reader: asyncio.StreamReader) -> str:
        """The next one's path."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split()[1].decode())
        return self.asked[-1]


Serve = Callable[[Talk, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(serve: Serve) -> AsyncIterator[Talk]:
    """Serves each connection; `gone` counts those that the client has closed."""
    talk = Talk()
    writers: list[asyncio.StreamWriter] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await serve(talk, reader, writer)
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        talk.gone += 1
        writer.close()

    listening = await asyncio.start_server(served, "127.0.0.1", 0)
    talk.port = listening.sockets[0].getsockname()[1]
    try:
        yield talk
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await until(lambda: talk.gone == len(writers), what="the end of all connections")


@asynccontextmanager
async def wires(port: int, limit: int) -> AsyncIterator[Wires]:
    made = Wires("127.0.0.1", port, limit)
    try:
        yield made
    finally:
        await made.aclose()


def get(path: str) -> bytes:
    return b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode()


async def answers(talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All, with 200."""
    while True:
        await talk.request(reader)
        writer.write(reply(200))


PIECES: dict[str, tuple[list[bytes], Answer | None]] = {
    "a head in two": ([b"HTTP/1.1 20", b"0 X\r\ncontent-length: 0\r\n\r\n"], OK),
    "a body in two": ([reply(200, body=b"hello")[:-2], b"lo"], OK),
    "chunks": (
        [b"HTTP/1.1 429 X\r\ntransfer-encoding: chunked\r\nretry-after: 7\r\n\r\n", b"0\r\n\r\n"],
        Answer(429, 7),
    ),
    "a head without end": ([b"HTTP/1.1 200 X\r\nx: ", b"y" * 70_000], None),
}


@pytest.mark.parametrize("name", sorted(PIECES))
async def test_an_answer_may_come_in_pieces(name: str) -> None:
    pieces, expected = PIECES[name]

    async def serve(talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk.request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)  # so that it is a piece

    heard: Heard = []
    async with talking(serve) as talk, wires(talk.port, 1) as pool:
        pool.send(get("/"), heard.append)
        await until(lambda: heard, what="an answer")
        assert heard == [expected]


async def test_a_connection_that_speaks_unasked_is_closed_and_never_used_again() -> None:
    async def serve(talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await talk.request(reader) == "/first":
            writer.write(reply(200))
            await until(lambda: heard, what="the first answer")
            writer.write(reply(408))
            return
        writer.write(reply(200))

    heard: Heard = []
    async with talking(serve) as talk, wires(talk.port, 2) as pool:
        pool.send(get("/first"), heard.append)
        await until(lambda: talk.gone == 1, what="the end of the first connection")
        for path in ("/second", "/third"):
            pool.send(get(path), heard.append)
        await until(lambda: len(heard) == 3, what="answers")
        assert (heard, pool.made) == ([OK] * 3, 3)


async def test_what_was_dropped_in_the_line_is_never_sent() -> None:
    go_on = asyncio.Event()

    async def serve(talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk.request(reader)
        await go_on.wait()
        writer.write(reply(200))
        await answers(talk, reader, writer)

    heard: Heard = []
    async with talking(serve) as talk, wires(talk.port, 1) as pool:
        pool.send(get("/first"), heard.append)
        dropped = pool.send(get("/dropped"), heard.append)
        pool.send(get("/last"), heard.append)
        dropped.drop()
        go_on.set()
        await until(lambda: len(heard) == 2, what="answers")
        assert (heard, talk.asked, pool.made) == ([OK, OK], ["/first", "/last"], 1)


async def test_a_connection_that_comes_too_late_for_one_serves_the_next() -> None:
    heard: Heard = []
    async with talking(answers) as talk, wires(talk.port, 1) as pool:
        pool.send(get("/dropped"), heard.append).drop()
        pool.send(get("/next"), heard.append)
        await until(lambda: heard, what="an answer")
        assert (heard, talk.asked, pool.made) == ([OK], ["/next"], 1)


async def test_a_connection_that_breaks_makes_room_for_what_still_waits() -> None:
    async def serve(talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await talk.request(reader) == "/first":
            await until(lambda: len(errands) == 3, what="all requests")
            writer.transport.abort()
            return
        writer.write(reply(200))

    heard: Heard = []
    async with talking(serve) as talk, wires(talk.port, 1) as pool:
        errands = [pool.send(get(f"/{name}"), heard.append) for name in ("first", "x", "last")]
        errands[1].drop()
        await until(lambda: len(heard) == 2, what="answers")
        assert (heard, talk.asked, pool.made) == ([None, OK], ["/first", "/last"], 2)


async def test_where_nobody_is_there_what_waits_for_a_connection_is_told_too() -> None:
    heard: Heard = []
    async with wires(1, 1) as pool:
        errands = [pool.send(get("/"), heard.append) for _ in range(4)]
        errands[0].drop()
        errands[2].drop()
        await until(lambda: len(heard) == 2, what="what became of them")
        assert (heard, pool.made) == ([None, None], 3)
