"""The toy API of the demo, a process of its own: `python -m pyclient.demo.backend`.

Every path costs the same work in `Slots`. `GET /-/state` tells its own counts, `POST /-/reset`
forgets all of them and the work in flight. The first line on stdout is its address.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from typing import cast

import httptools

from .limits import raise_file_limit, run_fast
from .slots import Slots

CONTROL = b"/-/"
_BACKLOG = 4096


class Exchange(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, slots: Slots, work_s: float) -> None:
        self._slots = slots
        self._work_s = work_s
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it for answers."""
        # uvloop's transports are no subclass of it.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """What is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._answer(400, {"error": "no HTTP"}, keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client gave up; its work goes on."""
        self._transport = None

    def on_url(self, url: bytes) -> None:
        """A piece of the path."""
        self._url += url

    def on_message_complete(self) -> None:
        """A whole request is there."""
        url, self._url = self._url, b""
        keep = self._parser.should_keep_alive()
        if url.startswith(CONTROL):
            self._control(url, keep=keep)
        else:
            said = {"path": url.decode("latin-1"), "answer": 42}
            self._slots.begin(self._work_s, lambda: self._answer(200, said, keep=keep))

    def _control(self, url: bytes, *, keep: bool) -> None:
        slots = self._slots
        if url == b"/-/reset" and self._parser.get_method() == b"POST":
            slots.reset()
        elif url != b"/-/state":
            self._answer(404, {"error": "expected GET /-/state or POST /-/reset"}, keep=keep)
            return
        names = ("slots", "in_flight", "max_in_flight", "done")
        self._answer(200, {name: getattr(slots, name) for name in names}, keep=keep)

    def _answer(self, status: int, said: object, *, keep: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        body = json.dumps(said).encode() + b"\n"
        end = b"" if keep else b"connection: close\r\n"
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n"
        reason = b"OK" if status == 200 else b"Error"
        self._transport.write(head % (status, reason, len(body), end) + body)
        if not keep:
            self._transport.close()


async def serve(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    slots = Slots(args.slots)
    server = await loop.create_server(
        lambda: Exchange(slots, args.work), "127.0.0.1", args.port, backlog=_BACKLOG
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


def main() -> int:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m pyclient.demo.backend", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=20, help="pieces of work at full speed")
    parser.add_argument("--work", type=float, default=0.2, help="seconds of each at full speed")
    args = parser.parse_args()
    raise_file_limit()
    run_fast(serve(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
