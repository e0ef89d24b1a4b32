"""Small requests of the command itself: is it up, what does the backend count."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_S = 3.0


async def request(url: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own. Raises OSError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                head = f"{method} {target} HTTP/1.1\r\nhost: {host}:{port}\r\n"
                writer.write(f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode())
                answer = await reader.read()
            finally:
                writer.close()
    except TimeoutError:
        raise ConnectionError(f"{url} does not answer within {_TIMEOUT_S:g} s") from None
    head_bytes, _, body = answer.partition(b"\r\n\r\n")
    words = head_bytes.split(b" ", 2)
    if len(words) < 3 or not words[1].isdigit():
        raise ConnectionError(f"{url}: expected HTTP, got {answer[:40]!r}")
    return int(words[1]), body


async def get_json(url: str, method: str = "GET") -> Any:
    """The JSON of an answer. Raises OSError, ValueError."""
    return json.loads((await request(url, method))[1])


def free_port(wanted: int = 0, host: str = "127.0.0.1") -> int:
    """`wanted` if nobody listens there, else 0; with 0 any port that is free now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError:
            return 0
        return int(probe.getsockname()[1])
