"""A target that streams: hundreds of megabytes in and out without holding them, and events."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator

from .rawtarget import Wire, split_head

MB = 1024 * 1024
BLOCK = os.urandom(MB - 8)


def blocks(count: int) -> Iterator[bytes]:
    """Megabytes, no two alike."""
    for number in range(count):
        yield number.to_bytes(8) + BLOCK


class Streams:
    """`GET /<n>` answers n MB, anything with a body its digest, `GET /events/<n>` n events 20 ms
    apart; `sent` is when each event went out, `active` how many requests are at the target."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.digest = ""
        self.sent: list[float] = []
        self.active = self.most = self.total = 0
        self.hold = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        wire = Wire(sock)
        with contextlib.suppress(OSError), sock:
            while head := wire.until(b"\r\n\r\n"):
                with self._counted():
                    answer = self._one(wire, sock, head)
                # Uncounted before it is answered: after that the next one may come.
                sock.sendall(answer)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.active += 1
            self.total += 1
            self.most = max(self.most, self.active)
        try:
            yield
        finally:
            with self._lock:
                self.active -= 1

    def _one(self, wire: Wire, sock: socket.socket, head: bytes) -> bytes:
        """Do the work; what is left to be sent."""
        first, lines = split_head(head)
        path = first.split(b" ")[1].strip(b"/")
        fields = {name.lower(): value for name, value in lines}
        if b"transfer-encoding" in fields or b"content-length" in fields:
            said = self._read(wire, fields)
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)
        if path.startswith(b"events/"):
            self._events(sock, int(path[7:]))
            return b""
        if path == b"wait":
            while not self.hold.wait(0.02):
                sock.settimeout(0.001)
                with contextlib.suppress(TimeoutError):
                    if sock.recv(1, socket.MSG_PEEK) == b"":
                        raise ConnectionError("the gateway has gone")
            sock.settimeout(None)
        elif path == b"short":
            time.sleep(0.005)
        else:
            self._write(sock, int(path))
            return b""
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    def _read(self, wire: Wire, fields: dict[bytes, bytes]) -> bytes:
        digest = hashlib.sha256()
        left = int(fields.get(b"content-length", b"0"))
        while b"content-length" not in fields:
            size = int(wire.until(b"\r\n"), 16)
            digest.update(wire.exactly(size))
            wire.exactly(2)
            if size == 0:
                break
        while left:
            digest.update(wire.exactly(some := min(left, MB)))
            left -= some
        return digest.hexdigest().encode()

    def _write(self, sock: socket.socket, count: int) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * MB))
        digest = hashlib.sha256()
        for block in blocks(count):
            digest.update(block)
            sock.sendall(block)
        self.digest = digest.hexdigest()

    def _events(self, sock: socket.socket, count: int) -> None:
        self.sent.clear()
        head = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        for number in range(count):
            time.sleep(0.02)
            self.sent.append(time.monotonic())
            sock.sendall(b"b\r\ndata: %3d\n\n\r\n" % number)
        sock.sendall(b"0\r\n\r\n")

    def close(self) -> None:
        self.hold.set()
        self._listener.close()


@contextlib.contextmanager
def streams() -> Iterator[Streams]:
    """One that listens."""
    target = Streams()
    try:
        yield target
    finally:
        target.close()
