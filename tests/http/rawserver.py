"""A target that says exactly the bytes that a test wants, and keeps those that came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from pyclient.http.target import Target

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection as the script sees it; `number` counts them from 1."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: RawServer
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.number = server.connections
        self._server = server

    async def head(self) -> bytes:
        """The next request's head, with its blank line."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self._server.heads.append(head)
        return head

    async def body(self, length: int) -> bytes:
        return await self.reader.readexactly(length)

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed or reset."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass


class RawServer:
    """See `serve`."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.errors: list[BaseException] = []
        self.target: Target


@contextlib.asynccontextmanager
async def serve(script: Script) -> AsyncIterator[RawServer]:
    """A listening server that runs `script` for each connection; its errors end the test."""
    state = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        state.connections += 1
        try:
            await script(Peer(reader, writer, state))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went; a test that minds looks at what the client saw
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            state.errors.append(error)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    state.target = Target.parse(f"http://127.0.0.1:{port}")
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
    if state.errors:
        raise state.errors[0]


def answer(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """A complete answer with Content-Length."""
    head = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body)
