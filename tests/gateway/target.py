"""A target in a thread: answers by the path, and keeps the bytes of every request that came."""

from __future__ import annotations

import gzip
import hashlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DATE = b"Date: Tue, 25 Nov 2026 10:00:00 GMT\r\nServer: target\r\n"
PAGE = b'<html><script>url: "/openapi.json"</script></html>'


def answer(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer with Content-Length, Date and Server."""
    head = b"".join(line + b"\r\n" for line in lines)
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status + b"\r\n" + DATE + head + length + b"\r\n" + body


class _Handler(socketserver.StreamRequestHandler):
    """One connection; `server` is the Target."""

    server: Target
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except (OSError, ValueError):
            pass  # the other side went

    def _one(self) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline(100_000)
            if not line:
                return False
            head += line
        path = head.split(b" ")[1].partition(b"?")[0].decode("latin-1")
        lowered = head.lower()
        body = b""
        if b"\r\ntransfer-encoding: chunked\r\n" in lowered:
            body = b"".join(self._chunks())
        elif b"\r\ncontent-length: " in lowered:
            length = int(lowered.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
            body = self.rfile.read(length)
        with self.server.lock:
            self.server.seen.append((head, body))
        return self._reply(path, head, body) and b"\r\nconnection: close\r\n" not in lowered

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _reply(self, path: str, head: bytes, body: bytes) -> bool:
        name, _, argument = path[1:].partition("/")
        method = getattr(self, f"on_{name}", None)
        if method is not None:
            return bool(method(argument, head, body))
        self.wfile.write(answer(b"" if head.startswith(b"HEAD") else head + body))
        return True

    def on_said(self, name: str, head: bytes, body: bytes) -> bool:
        """Exactly the bytes that a test has laid down under a name."""
        self.wfile.write(self.server.said[name])
        return not self.server.closes

    def on_sha(self, name: str, head: bytes, body: bytes) -> bool:
        self.wfile.write(answer(hashlib.sha256(body).hexdigest().encode()))
        return True

    def on_bytes(self, count: str, head: bytes, body: bytes) -> bool:
        self.wfile.write(answer(b"x" * int(count)))
        return True

    def on_slow(self, seconds: str, head: bytes, body: bytes) -> bool:
        with self.server.busy():
            time.sleep(float(seconds))
        self.wfile.write(answer(b"slow"))
        return True

    def on_gate(self, name: str, head: bytes, body: bytes) -> bool:
        """Answers when the test opens the gate."""
        with self.server.busy():
            self.server.gate.wait(20)
        self.wfile.write(answer(name.encode()))
        return True

    def on_silent(self, name: str, head: bytes, body: bytes) -> bool:
        self.rfile.read(1)  # until the other side gives up
        self.server.left.set()
        return False

    def on_close(self, name: str, head: bytes, body: bytes) -> bool:
        return False

    def on_sse(self, count: str, head: bytes, body: bytes) -> bool:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(int(count)):
            event = b"data: %f\n\n" % time.monotonic()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            time.sleep(0.2)
        self.wfile.write(b"0\r\n\r\n")
        return True

    def on_half(self, name: str, head: bytes, body: bytes) -> bool:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    def on_docs(self, name: str, head: bytes, body: bytes) -> bool:
        if self.server.packs:
            packed = gzip.compress(PAGE)
            self.wfile.write(answer(packed, b"Content-Encoding: gzip"))
        else:
            self.wfile.write(answer(PAGE, b"Content-Type: text/html"))
        return True

    def on_ws(self, name: str, head: bytes, body: bytes) -> bool:
        """Switches to a protocol that echoes bytes."""
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nhello"
        )
        while data := self.connection.recv(65536):
            self.connection.sendall(data)
        return False


class Target(socketserver.ThreadingTCPServer):
    """The server; use `running()`."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.seen: list[tuple[bytes, bytes]] = []
        self.said: dict[str, bytes] = {}
        self.closes = False
        self.packs = False
        self.gate = threading.Event()
        self.left = threading.Event()
        self.active = 0
        self.most_active = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Counts how many requests are worked on at one time."""
        with self.lock:
            self.active += 1
            self.most_active = max(self.active, self.most_active)
        try:
            yield
        finally:
            with self.lock:
                self.active -= 1

    def heads(self, part: bytes = b"") -> list[bytes]:
        """The heads of the requests that came and hold `part`."""
        with self.lock:
            return [head for head, _ in self.seen if part in head]

    def reset(self) -> None:
        """As new, for the next test."""
        with self.lock:
            self.seen.clear()
        self.said.clear()
        self.closes = self.packs = False
        self.gate.clear()
        self.left.clear()
        self.most_active = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Tests look at what the client gets."""


@contextmanager
def running() -> Iterator[Target]:
    """A listening target."""
    target = Target()
    thread = threading.Thread(target=target.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield target
    finally:
        target.gate.set()
        target.shutdown()
        target.server_close()
        thread.join()


def silent_server() -> tuple[socket.socket, Callable[[], None]]:
    """A listening socket that accepts and never says a word; and how to end it."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    return sock, sock.close
