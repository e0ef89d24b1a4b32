"""The witness, `python -m tests.faults.backend`: every run of a task calls it, and it writes.

It knows nothing of queues. On a unix socket it takes one JSON line a run from handlers; on a
port it is the API behind the gateway (`GET /t/<nonce>?ms=<time it takes>`). It writes the effect
before it works, and answers after.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from .history import FOLDER, Recorder
from .processes import end_with_conductor

SOCKET = "backend.sock"
PORT = "backend.port"
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_RUNS = itertools.count(1)


class Backend:
    """Both doors of the witness."""

    def __init__(self, record: Recorder) -> None:
        self._record = record

    async def by_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One run of a handler."""
        try:
            asked = json.loads(await reader.readline())
            await self._run(asked["n"], asked["id"], asked["fence"], asked["by"], asked["ms"])
            writer.write(b"done\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # the caller was killed
        finally:
            writer.close()

    async def by_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of the forwarding worker, one after the other."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the caller has closed, or was killed
        finally:
            writer.close()

    async def _answer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        target = urlsplit(head.split(b" ", 2)[1].decode())
        if length := _LENGTH.search(head):
            await reader.readexactly(int(length[1]))
        n, query = target.path.rpartition("/")[2], parse_qs(target.query)
        await self._run(n, "", 0, "", float(query.get("ms", ["0"])[0]))
        body = n.encode() + b"." * int(query.get("size", ["0"])[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async def _run(self, n: str, task_id: str, fence: int, by: str, ms: float) -> None:
        run = next(_RUNS)
        self._record("effect", n=n, id=task_id, fence=fence, by=by, run=run)
        await asyncio.sleep(ms / 1000)
        self._record("effected", n=n, run=run)


async def main() -> None:
    """Serve until SIGTERM."""
    folder = Path(os.environ[FOLDER])
    backend = Backend(Recorder.of_environment())
    await asyncio.start_unix_server(backend.by_line, folder / SOCKET, backlog=1024)
    server = await asyncio.start_server(backend.by_http, "127.0.0.1", 0, backlog=1024)
    (folder / "port.new").write_text(str(server.sockets[0].getsockname()[1]))
    (folder / "port.new").rename(folder / PORT)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    end_with_conductor()
    asyncio.run(main())
