"""A Redis or Valkey of our own on loopback, and just enough of a client to ask it for its counters.

Standard library only: the harness itself has to run beside systems of any environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

STARTING_S = 10.0
# What the harness itself sends; left out of every count.
OURS = ("info", "flushall", "config", "client", "memory", "ping", "slowlog")


class Resp:
    """One blocking connection in RESP2."""

    def __init__(self, port: int, *, path: str = "") -> None:
        if path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(60)
            try:
                self._socket.connect(path)
            except OSError:
                self._socket.close()
                raise
        else:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._socket.makefile("rb")

    def __call__(self, *args: str | bytes | int) -> Any:
        """Send one command, return its reply; an error reply is raised."""
        parts = [b"*%d\r\n" % len(args)]
        for arg in args:
            value = arg if isinstance(arg, bytes) else str(arg).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(value), value))
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def info(self, *sections: str) -> dict[str, str]:
        """INFO as a mapping."""
        lines = self("INFO", *sections).decode().splitlines()
        return {name: value for name, _, value in (line.partition(":") for line in lines) if value}

    def _reply(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b"-":
                raise RuntimeError(rest.decode())
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
            case b"*":
                return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        raise RuntimeError(f"expected a RESP2 reply, got {line!r}")


class Counters:
    """What a server has done so far; the difference of two is what a phase cost."""

    def __init__(self, info: Mapping[str, str]) -> None:
        self.calls: dict[str, int] = {}
        self.micros: dict[str, float] = {}
        for name, value in info.items():
            command = name.removeprefix("cmdstat_")
            if command == name or command.partition("|")[0] in OURS:
                continue
            fields = dict(field.split("=") for field in value.split(","))
            self.calls[command] = int(fields["calls"])
            self.micros[command] = float(fields["usec"])
        self.reads = int(info.get("total_reads_processed", 0))
        self.net_bytes = sum(int(info[f"total_net_{way}put_bytes"]) for way in ("in", "out"))
        self.cpu = sum(float(info[f"used_cpu_{kind}"]) for kind in ("user", "sys"))

    def add(self, other: Counters) -> None:
        """Another server's on top."""
        for name, number in other.calls.items():
            self.calls[name] = self.calls.get(name, 0) + number
            self.micros[name] = self.micros.get(name, 0.0) + other.micros[name]
        self.reads += other.reads
        self.net_bytes += other.net_bytes
        self.cpu += other.cpu

    def since(self, before: Counters, count: int) -> dict[str, Any]:
        """Per task: commands (those inside scripts count), script calls and their µs, socket
        reads, bytes on the wire, CPU in µs, and the commands by name."""
        calls = {
            name: number - before.calls.get(name, 0)
            for name, number in self.calls.items()
            if number > before.calls.get(name, 0)
        }
        scripts = [name for name in calls if name.startswith(("eval", "fcall"))]
        micros = sum(self.micros[name] - before.micros.get(name, 0.0) for name in scripts)
        count = max(count, 1)
        ordered = sorted(calls.items(), key=lambda item: -item[1])
        return {
            "commands": sum(calls.values()) / count,
            "script_calls": sum(calls[name] for name in scripts) / count,
            "script_us": micros / count,
            "reads": (self.reads - before.reads) / count,
            "net_bytes": (self.net_bytes - before.net_bytes) / count,
            "cpu_redis_us": (self.cpu - before.cpu) * 1e6 / count,
            "by_name": {name: round(number / count, 3) for name, number in ordered[:20]},
        }


class Server:
    """A server without persistence; ends with the block."""

    def __init__(
        self,
        binary: str | None = None,
        *,
        unix: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.binary = binary or find_server()
        self._folder = tempfile.mkdtemp(prefix="peak-bench-")
        self.port = 0 if unix else free_port()
        self.path = f"{self._folder}/s" if unix else ""
        self.url = f"unix://{self.path}" if unix else f"redis://127.0.0.1:{self.port}/0"
        where = ("--unixsocket", self.path) if unix else ("--bind", "127.0.0.1")
        quiet = (
            "--save",
            "",
            "--appendonly",
            "no",
            "--loglevel",
            "warning",
            "--maxclients",
            "8000",
        )
        more = [word for name, value in (settings or {}).items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [self.binary, "--port", str(self.port), *where, *quiet, "--dir", self._folder, *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.ask = self._connect()
        info = self.ask.info("server")
        valkey = info.get("valkey_version")
        self.name = f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ask.close()
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def counters(self) -> Counters:
        """What it has done so far."""
        return Counters(self.ask.info("commandstats", "stats", "cpu"))

    def used_bytes(self) -> int:
        """Memory of its data, without the buffers of its clients and the scripts it holds."""
        info = self.ask.info("memory")
        apart = ("mem_clients_normal", "used_memory_scripts_eval", "used_memory_functions")
        return int(info["used_memory"]) - sum(int(info.get(name, 0)) for name in apart)

    def _connect(self) -> Resp:
        deadline = time.monotonic() + STARTING_S
        while True:
            try:
                ask = Resp(self.port, path=self.path)
                ask("PING")
            except (OSError, RuntimeError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.binary} did not start") from None
                time.sleep(0.02)
            else:
                return ask


def find_server() -> str:
    """BENCH_SERVER, a server on PATH, or the embedded Valkey's binary."""
    for name in (os.environ.get("BENCH_SERVER"), "redis-server", "valkey-server"):
        if name and (found := shutil.which(name)):
            return found
    return embedded_server()


def embedded_server() -> str:
    """The binary that `embedded://` starts. Raises ConfigError where there is none."""
    from pyclient.embedded_process import server_binary

    return server_binary()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
