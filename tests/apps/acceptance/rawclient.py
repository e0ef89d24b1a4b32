"""A client that sends exactly these bytes and keeps the answer as it came."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .rawtarget import Lines, Wire, split_head


@dataclass(slots=True)
class Got:
    """One answer. `framing` is how its end was told: length, chunked, close or none."""

    status: int
    first: bytes
    lines: Lines
    body: bytes
    framing: str
    took: float

    def values(self, name: bytes) -> list[bytes]:
        """The values of a header in order, whatever its case."""
        return [value for key, value in self.lines if key.lower() == name]

    def names(self) -> set[bytes]:
        return {name.lower() for name, _ in self.lines}

    @property
    def problem(self) -> Any:
        """The JSON of an answer of the gateway itself."""
        assert self.values(b"content-type") == [b"application/problem+json"], self
        return json.loads(self.body)


class RawClient:
    """One connection."""

    def __init__(self, port: int, *, timeout: float = 20.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wire = Wire(self.sock)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, method: bytes = b"GET") -> Got:
        """Read one whole answer; interim ones (1xx) are passed over."""
        began = time.monotonic()
        while True:
            head = self._wire.until(b"\r\n\r\n")
            assert head, "the connection ended without an answer"
            first, lines = split_head(head)
            status = int(first.split(b" ")[1])
            if status >= 200:
                break
        body, framing = self._body(method, status, lines)
        return Got(status, first, lines, body, framing, time.monotonic() - began)

    def interim(self) -> bytes:
        """The next head, be it an interim one."""
        return self._wire.until(b"\r\n\r\n")

    def _body(self, method: bytes, status: int, lines: Lines) -> tuple[bytes, str]:
        lengths = [value for name, value in lines if name.lower() == b"content-length"]
        codings = [value for name, value in lines if name.lower() == b"transfer-encoding"]
        assert len(lengths) + len(codings) <= 1, f"the framing is ambiguous: {lines}"
        if method == b"HEAD" or status in (204, 304):
            return b"", "none"
        if codings:
            return self._chunked(), "chunked"
        if lengths:
            return self._wire.exactly(int(lengths[0])), "length"
        return self.rest(), "close"

    def _chunked(self) -> bytes:
        parts: list[bytes] = []
        while True:
            size = int(self._wire.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            parts.append(self._wire.exactly(size))
            assert self._wire.exactly(2) == b"\r\n"
        while self._wire.until(b"\r\n") != b"\r\n":
            pass  # trailers
        return b"".join(parts)

    def rest(self) -> bytes:
        """All until the connection ends."""
        parts = [self._wire.buffered()]
        while data := self.sock.recv(262_144):
            parts.append(data)
        return b"".join(parts)

    def ended(self, timeout: float = 2.0) -> bool:
        """Whether the other side has closed and sent nothing more."""
        return self._wire.buffered() == b"" and self._wire.gone(timeout)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """End with RST."""
        self._wire.reset()

    def shut_down(self) -> None:
        """Say that nothing more will be sent or read."""
        self.sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def connected(port: int, *, timeout: float = 20.0) -> Iterator[RawClient]:
    """A connection for a block."""
    client = RawClient(port, timeout=timeout)
    try:
        yield client
    finally:
        client.close()


def request(
    method: bytes = b"GET",
    target: bytes = b"/",
    *lines: bytes,
    body: bytes | None = None,
    host: bytes = b"front.example",
) -> bytes:
    """A request with Host, and with Content-Length where there is a body."""
    head = [b"%b %b HTTP/1.1" % (method, target), b"Host: " + host, *lines]
    if body is not None:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + (body or b"")


def chunked(*parts: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def ask(
    port: int,
    method: bytes = b"GET",
    target: bytes = b"/",
    *lines: bytes,
    body: bytes | None = None,
    timeout: float = 20.0,
) -> Got:
    """One request on a connection of its own."""
    with connected(port, timeout=timeout) as client:
        client.send(request(method, target, *lines, body=body))
        return client.answer(method)
