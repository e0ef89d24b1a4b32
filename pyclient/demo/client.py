"""The open-loop client of the demo, a process of its own: `python -m pyclient.demo.client URL`.

Requests go out when they are due, however slow the answers are: that is what a peak is. It prints
one JSON object a second, and the figures at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from .limits import raise_file_limit, run_fast
from .tally import GIVE_UP_S, Arrival, Tally, arrivals
from .wire import Answer, Wires

_SPARE_FILES = 64


class Peak:
    """Plays a list of arrivals against an address."""

    def __init__(
        self,
        url: str,
        plan: list[Arrival],
        connections: int,
        path: Callable[[int, Arrival], str] | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._path = path or _path_of_class
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        self._host = f"{host}:{port}".encode()
        self._wires = Wires(host, port, connections)
        self._plan = plan
        self._left = len(plan)
        self._done = asyncio.Event()
        self.tally = Tally()

    @property
    def connections_made(self) -> int:
        """How many sockets it took."""
        return self._wires.made

    async def play(self) -> None:
        """Until each has been answered, or given up."""
        loop = asyncio.get_running_loop()
        self._begun = loop.time()
        for number, arrival in enumerate(self._plan):
            wait = self._begun + arrival.at - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._send(number, arrival)
        if self._left:
            await self._done.wait()
        await self._wires.aclose()

    def _send(self, number: int, arrival: Arrival) -> None:
        loop = asyncio.get_running_loop()
        due = self._begun + arrival.at
        self.tally.sent(arrival.kind, loop.time() - due)
        request = b"GET %s HTTP/1.1\r\nhost: %s\r\naccept: */*\r\n\r\n" % (
            self._path(number, arrival).encode(),
            self._host,
        )

        def heard(answer: Answer | None) -> None:
            timer.cancel()
            now = loop.time()
            self.tally.heard(arrival.kind, answer, now - due, now - self._begun)
            self._left -= 1
            if not self._left:
                self._done.set()

        def give_up() -> None:
            errand.drop()
            heard(None)

        timer = loop.call_at(due + GIVE_UP_S, give_up)
        errand = self._wires.send(request, heard)


def _path_of_class(number: int, arrival: Arrival) -> str:
    return f"/{arrival.kind}/{number}"


async def run(args: argparse.Namespace) -> None:
    """Play the peak, tell about it every second."""
    loop = asyncio.get_running_loop()
    connections = min(args.connections, raise_file_limit() - _SPARE_FILES)
    plan = arrivals(args.rate, args.seconds, args.high)
    peak = Peak(args.url, plan, connections)
    playing = loop.create_task(peak.play())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, playing.cancel)
    begun = loop.time()
    while not playing.done():
        await asyncio.wait([playing], timeout=1.0)
        seconds = round(loop.time() - begun, 1)
        print(json.dumps({"seconds": seconds, **peak.tally.progress()}), flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        playing.result()
        print(json.dumps({"figures": peak.tally.figures()}), flush=True)


def main() -> int:
    """Read the arguments and play."""
    parser = argparse.ArgumentParser(prog="python -m pyclient.demo.client", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=500, help="requests a second")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--high", type=float, default=0.05, help="share of the high class")
    parser.add_argument("--connections", type=int, default=12_000)
    run_fast(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
