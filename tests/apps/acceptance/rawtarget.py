"""A target that answers exactly the bytes that a test wants, and keeps every request as it came.

A thread a connection; no HTTP library, so that nothing is repaired on either way.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Lines = list[tuple[bytes, bytes]]
_HEAD_END = b"\r\n\r\n"


def split_head(head: bytes) -> tuple[bytes, Lines]:
    """First line and header lines; only CR LF ends a line, one blank after the colon goes."""
    first, *rest = head.removesuffix(_HEAD_END).split(b"\r\n")
    lines = []
    for line in rest:
        name, colon, value = line.partition(b":")
        assert colon, f"no header line: {line!r}"
        lines.append((name, value.removeprefix(b" ")))
    return first, lines


def answer(body: bytes = b"", *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """A complete answer with Content-Length."""
    head = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body)


@dataclass(slots=True)
class Seen:
    """One request as the target got it; `wire` is its body with its framing."""

    connection: int
    head: bytes
    method: bytes
    target: bytes
    lines: Lines
    body: bytes
    wire: bytes
    at: float = field(default_factory=time.monotonic)

    def values(self, name: bytes) -> list[bytes]:
        """The values of a header in order, whatever its case."""
        return [value for key, value in self.lines if key.lower() == name]


class Wire:
    """The target's end of a connection, for a script."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""
        self.open = True

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._sock.sendall(data)

    def close(self) -> None:
        self.open = False
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End with RST."""
        self.open = False
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def until(self, mark: bytes) -> bytes:
        """Read up to and with `mark`; empty where the stream ends before."""
        data = bytearray(self._rest)
        start = 0
        while (at := data.find(mark, start)) < 0:
            start = max(0, len(data) - len(mark))
            more = self._sock.recv(262_144)
            if not more:
                return b""
            data += more
        end = at + len(mark)
        self._rest = bytes(data[end:])
        return bytes(data[:end])

    def exactly(self, size: int) -> bytes:
        data = bytearray(self._rest[:size])
        self._rest = self._rest[size:]
        while len(data) < size:
            more = self._sock.recv(min(size - len(data), 1 << 20))
            if not more:
                raise ConnectionError(f"the body ended after {len(data)} of {size} bytes")
            data += more
        return bytes(data)

    def buffered(self) -> bytes:
        """What was read and not yet taken."""
        rest, self._rest = self._rest, b""
        return rest

    def gone(self, timeout: float = 10.0) -> bool:
        """Whether the other side goes away within the time."""
        self._sock.settimeout(timeout)
        try:
            return self._sock.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


Script = Callable[[Seen, Wire], None]


def _body(wire: Wire, lines: Lines) -> tuple[bytes, bytes]:
    """Body, and the same with its framing."""
    fields = {name.lower(): value for name, value in lines}
    if fields.get(b"transfer-encoding", b"").lower() != b"chunked":
        body = wire.exactly(int(fields.get(b"content-length", b"0")))
        return body, body
    parts: list[bytes] = []
    raw: list[bytes] = []
    while True:
        size = wire.until(b"\r\n")
        raw.append(size)
        length = int(size.split(b";")[0], 16)
        if length == 0:
            break
        parts.append(wire.exactly(length))
        raw += [parts[-1], wire.exactly(2)]
    while raw[-1] != b"\r\n":  # trailers
        raw.append(wire.until(b"\r\n"))
    return b"".join(parts), b"".join(raw)


def _headless(said: bytes) -> bytes:
    """A whole answer without its body."""
    return said[: said.index(_HEAD_END) + len(_HEAD_END)]


class RawTarget:
    """See `raw_target`. `answers` maps a path to bytes or a script, `default` is for the rest."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.answers: dict[bytes, bytes | Script] = {}
        self.default: bytes | Script = answer(b"fine")
        self.seen: list[Seen] = []
        self.errors: list[str] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._open.add(sock)
                args = (sock, self.connections)
                threading.Thread(target=self._serve, args=args, daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                self._open.discard(sock)
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            wire = Wire(sock)
            while wire.open:
                head = wire.until(_HEAD_END)
                if not head:
                    return
                self._one(wire, head, number)
        except OSError:
            pass  # the other side went away: a test that minds looks at `seen`
        except Exception as error:
            self.errors.append(repr(error))
        finally:
            self._open.discard(sock)
            sock.close()

    def _one(self, wire: Wire, head: bytes, number: int) -> None:
        first, lines = split_head(head)
        method, target, _ = first.split(b" ")
        body, raw = _body(wire, lines)
        seen = Seen(number, head, method, target, lines, body, raw)
        self.seen.append(seen)
        said = self.answers.get(target.partition(b"?")[0], self.default)
        if not isinstance(said, bytes):
            said(seen, wire)
            return
        wire.send(_headless(said) if method == b"HEAD" else said)
        if b"\r\nconnection: close\r\n" in said.lower():
            wire.close()

    def at(self, path: bytes) -> list[Seen]:
        """The requests of a path, without regard to the query."""
        return [seen for seen in self.seen if seen.target.partition(b"?")[0] == path]

    def one(self, path: bytes) -> Seen:
        """The only request of a path."""
        (seen,) = self.at(path)
        return seen

    def close(self) -> None:
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def raw_target(tls: ssl.SSLContext | None = None) -> Iterator[RawTarget]:
    """A listening target; what it could not read as HTTP fails the test."""
    target = RawTarget(tls)
    try:
        yield target
    finally:
        target.close()
    assert target.errors == []


def slow(seconds: float, said: bytes | None = None) -> Script:
    """A script that answers after a while."""

    def script(seen: Seen, wire: Wire) -> None:
        time.sleep(seconds)
        wire.send(answer(b"slow") if said is None else said)

    return script


class Gate:
    """A script that holds requests until the test opens it."""

    def __init__(self, said: bytes | None = None) -> None:
        self._open = threading.Event()
        self._said = answer(b"through the gate") if said is None else said

    def __call__(self, seen: Seen, wire: Wire) -> None:
        self._open.wait(30)
        wire.send(self._said)

    def open(self) -> None:
        self._open.set()
