"""What one request of the upstream client costs, beside aiohttp; and whether its bytes arrive.

    PYTHONPATH=. python bench/http_client.py [--json]

A raw server in a process of its own answers 200 bytes at once. Microseconds of wall and of CPU
of the calling process a request, at 1 and 64 in flight, upon uvloop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from pyclient.http.client import HttpClient
from pyclient.http.envelope import Request
from pyclient.http.target import Target

BODY = b"x" * 200
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: \xe9\r\nContent-Length: 200\r\n\r\n"
    + BODY
)
HEAD = (
    b"user-agent: curl/8.0\r\naccept: */*\r\ncookie: a=b; c=d\r\nx-b: \xe9\r\nvia: 1.1 gateway\r\n"
)
Ask = Callable[[], Awaitable[None]]


class _Server(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        seen.add(data.split(b"\r\n\r\n")[0].split(b"x-b: ")[-1].split(b"\r\n")[0])
        self._transport.write(ANSWER * data.count(b"\r\n\r\n"))


seen: set[bytes] = set()


def serve(pipe: Connection) -> None:
    """The server; tells its port, and at the end which values of `x-b` came."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        pipe.send(sorted(seen))

    uvloop.run(main())


async def measure(ask: Ask, in_flight: int, count: int) -> tuple[float, float]:
    """Wall and CPU, in microseconds a request."""

    async def some(number: int) -> None:
        for _ in range(number):
            await ask()

    await some(200)
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[some(count // in_flight) for _ in range(in_flight)])
    return (
        (time.perf_counter() - wall) / count * 1e6,
        (time.process_time() - cpu) / count * 1e6,
    )


async def with_ours(port: int, in_flight: int, count: int) -> tuple[float, float]:
    """pyclient.http."""
    client, target = HttpClient(), Target.parse(f"http://127.0.0.1:{port}")
    request = Request(b"GET", b"/a?b=1", b"", True, False, HEAD, b"")

    async def ask() -> None:
        response = await client.request(target, request, timeout=60, max_body=10**7)
        assert response.body == BODY

    try:
        return await measure(ask, in_flight, count)
    finally:
        await client.aclose()


async def with_aiohttp(port: int, in_flight: int, count: int) -> tuple[float, float]:
    """aiohttp, told to keep its hands off the headers and the body."""
    import aiohttp
    from yarl import URL

    pairs = [line.split(b": ") for line in HEAD.strip().split(b"\r\n")]
    headers = [(name.decode(), value.decode("latin-1")) for name, value in pairs]
    url = URL(f"http://127.0.0.1:{port}/a?b=1", encoded=True)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(auto_decompress=False, connector=connector) as session:

        async def ask() -> None:
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                assert await response.read() == BODY

        return await measure(ask, in_flight, count)


def main() -> None:
    """Run both, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    found: dict[str, Any] = {}
    for name, run in (("pyclient", with_ours), ("aiohttp", with_aiohttp)):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=serve, args=(theirs,))
        process.start()
        port = ours.recv()
        for in_flight in (1, 64):
            wall, cpu = uvloop.run(run(port, in_flight, 12_800))
            found[f"{name}_{in_flight}"] = {"wall_us": round(wall, 1), "cpu_us": round(cpu, 1)}
        ours.send("stop")
        found[f"{name}_obs_text"] = [value.hex() for value in ours.recv()]
        process.join()
    if as_json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:20} {value}")


if __name__ == "__main__":
    main()
