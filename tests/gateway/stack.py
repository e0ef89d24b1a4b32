"""Gateway and worker as processes, with a target, for tests from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from tests import servers
from tests.servers import PATIENCE_S

from .target import Target

ROOT = Path(__file__).resolve().parents[2]
Env = dict[str, str]


class Process:
    """One program, its output in a file."""

    def __init__(self, arguments: list[str], env: Env, home: Path) -> None:
        self._out: IO[bytes] = tempfile.TemporaryFile(dir=home)  # noqa: SIM115 - see `close`
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PEAK_", "FAST_PRIORITY_"))
        }
        self.popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**clean, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
            cwd=home,
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def output(self) -> str:
        """All that it has written."""
        size = os.fstat(self._out.fileno()).st_size
        return os.pread(self._out.fileno(), size, 0).decode("utf-8", "replace")

    def lines(self, message: str) -> list[dict[str, object]]:
        """Its JSON log lines with that message."""
        found = []
        for line in self.output().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("message") == message:
                    found.append(entry)
        return found

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Its exit code."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.output()}") from None

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE_S) -> int:
        """Send a signal and wait for the end."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.wait(timeout)

    def close(self) -> None:
        """End it, whatever it does."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self._out.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still live."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(part) for part in text.split()]


def kill_all(process: Process) -> None:
    """kill -9 of a process and its children at once."""
    pids = [process.pid, *children(process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.wait()


def wipe(redis: servers.Server, queue: str) -> None:
    """Remove all that a queue has in Redis."""
    client = redis.client()
    keys = list(client.scan_iter(match=f"peak:{{{queue}*"))
    if keys:
        client.delete(*keys)


def until(condition: object, what: str = "", timeout: float = PATIENCE_S) -> None:
    """Poll a callable until it is true."""
    assert callable(condition)
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


class Gateway(Process):
    """`python -m gateway_app` on a free port."""

    def __init__(self, env: Env, home: Path, *arguments: str) -> None:
        listen = {"FAST_PRIORITY_HOST": "127.0.0.1", "FAST_PRIORITY_PORT": "0"}
        super().__init__(["gateway_app", *arguments], {**listen, **env}, home)
        self.port = 0

    def ready(self) -> Gateway:
        """Wait until it listens and answers."""
        until(lambda: self.lines("gateway listens") or self.popen.poll() is not None, "listening")
        assert self.popen.poll() is None, self.output()
        url = str(self.lines("gateway listens")[0]["url"])
        self.port = int(url.rpartition(":")[2])
        until(lambda: get(self.port, "/gateway_ready").status == 200, self.output())
        return self


class Reply:
    """An answer as it came over the wire."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        match = re.match(rb"HTTP/1\.[01] (\d{3})", lines[0])
        self.status = int(match[1]) if match else 0
        self.pairs = [tuple(line.split(b": ", 1)) for line in lines[1:] if b": " in line]

    def all(self, name: bytes) -> list[bytes]:
        """The values of a header."""
        return [value for key, value in self.pairs if key.lower() == name]

    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        found: dict[str, object] = json.loads(self.body)
        return found


def raw(port: int, *parts: bytes, timeout: float = 10.0) -> bytes:
    """Send bytes; what comes back until the gateway closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        with contextlib.suppress(OSError):
            for part in parts:
                sock.sendall(part)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end, or until time is up."""
    found = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(262_144):
            found += data
    return found


def request(method: str, path: str, *lines: bytes, body: bytes = b"") -> bytes:
    """The bytes of a request that asks for the connection to be closed."""
    head = f"{method} {path} HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n".encode()
    if body:
        head += b"Content-Length: %d\r\n" % len(body)
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def call(
    port: int, method: str, path: str, *lines: bytes, body: bytes = b"", timeout: float = 10.0
) -> Reply:
    """One request, one answer."""
    return Reply(raw(port, request(method, path, *lines, body=body), timeout=timeout))


def get(port: int, path: str, *lines: bytes, timeout: float = 10.0) -> Reply:
    """GET."""
    return call(port, "GET", path, *lines, timeout=timeout)


@contextlib.contextmanager
def started(*processes: Process) -> Iterator[None]:
    """Ends processes at the end, and shows what they wrote when the block fails."""
    try:
        yield
    except BaseException:
        for process in processes:
            print(f"--- {process.popen.args!r}\n{process.output()}")
        raise
    finally:
        for process in processes:
            process.close()


class Stack(NamedTuple):
    """What a test talks to."""

    port: int
    target: Target
    gateway: Gateway
    worker: Process | None
    redis: servers.Server


@contextlib.contextmanager
def holding(redis: servers.Server, target: Target, home: Path, **more: str) -> Iterator[Stack]:
    """A gateway in hold mode on the queue `held`, with these settings."""
    env = {
        "PEAK_REDIS_URL": redis.url,
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "PEAK_MODE": "hold",
        "PEAK_QUEUE": "held",
        **more,
    }
    with started(gateway := Gateway(env, home)):
        yield Stack(gateway.ready().port, target, gateway, None, redis)
