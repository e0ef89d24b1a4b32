"""Real servers for the tests: Valkey from the wheel, and the redis-server of the machine.

    with valkey(appendonly="yes") as server:
        server.client().ping()

Each lives in a directory of its own under a guard, so that none outlives the test process. A
keyword is a setting (`maxmemory="1mb"`, `_` for `-`); a list repeats it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pyclient.cli.acl import rules
from pyclient.embedded_process import Guarded, quoted, server_binary

Setting = str | int | list[str]
# How long a poll goes on where no promise names a time. Only a test that fails takes it; on a
# machine that does much else a process may need half a minute to start.
PATIENCE_S = 60.0
# What pytest's options say for this run; see conftest.py.
PROTOCOL = 3
ROLES: tuple[str, ...] = ()
USER, PASSWORD = "suite", "battery-staple"
# Guards of servers that are up now, for the leak checker.
LIVE: set[int] = set()
DEFAULTS: dict[str, Setting] = {
    "save": "",
    "appendonly": "no",
    "enable-debug-command": "yes",
    "repl-diskless-sync-delay": 0,
}


def until(condition: Callable[[], object], *, timeout: float = PATIENCE_S, what: str = "") -> None:
    """Poll until it holds; redis errors on the way count as "not yet"."""
    end = time.monotonic() + timeout
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}")
        time.sleep(0.01)


class Server:
    """One server process; `restart` and `kill` keep its directory, address and settings."""

    def __init__(
        self, binary: str, home: Path, settings: dict[str, Setting], *, port: int = 0
    ) -> None:
        self.binary = binary
        self.home = home
        self.port = port
        self.settings = settings
        self.address = f"redis://127.0.0.1:{port}" if port else f"unix://{home / 's'}"
        self._clients: list[redis.Redis] = []
        self._start()

    @property
    def url(self) -> str:
        """Its address for what is tested: as the user of the roles, if the run asks for roles."""
        ours = bool(ROLES) and self.settings.get("user") == _user()["user"]
        login = f"{USER}:{PASSWORD}@" if ours else ""
        return self.address.replace("://", f"://{login}", 1)

    def _start(self) -> None:
        config = [f"dir {quoted(str(self.home))}", f"port {self.port}"]
        config += ["bind 127.0.0.1"] if self.port else [f"unixsocket {quoted(self.address[7:])}"]
        for name, value in self.settings.items():
            for one in value if isinstance(value, list) else [value]:
                raw = one if isinstance(value, list) else quoted(str(one))
                config.append(f"{name.replace('_', '-')} {raw}")
        self._guarded = self._launch(config)
        self.pid = self._guarded.pid
        LIVE.add(self._guarded.session)

    def _launch(self, config: list[str]) -> Guarded:
        return Guarded(config, self.home, binary=self.binary)

    def ready(self) -> None:
        """Wait until it serves."""
        self._guarded.wait_until_serving(self.address, timeout=PATIENCE_S)

    def client(self, *, protocol: int | None = None, timeout: float = 10.0) -> redis.Redis:
        """A redis-py client of the default user that tries once; closed by `hang_up`, or with
        the server."""
        client = redis.Redis.from_url(
            self.address,
            protocol=protocol or PROTOCOL,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
        )
        self._clients.append(client)
        return client

    def hang_up(self) -> None:
        """Close the clients that were made so far: a run makes thousands."""
        while self._clients:
            self._clients.pop().close()

    def running(self) -> bool:
        """Whether its process lives."""
        return self._guarded.running()

    def stop(self) -> None:
        """End it in good order; data stay if they were persistent."""
        self.hang_up()
        self._guarded.stop()
        LIVE.discard(self._guarded.session)

    def start(self) -> None:
        """Start again after `stop` or `kill`, on the same directory and address."""
        self._start()
        self.ready()

    def restart(self) -> None:
        """Stop in good order and start."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9, and wait until it is gone. `start` brings it back."""
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.running(), what="the end of a killed server")
        self.stop()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Frozen for a while (SIGSTOP): it answers nobody, and its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


class SentinelServer(Server):
    """The same binary watching others. It rewrites its configuration, so that is a file."""

    def _launch(self, config: list[str]) -> Guarded:
        file = self.home / "sentinel.conf"
        if not file.exists():
            file.write_text("".join(f"{line}\n" for line in config))
        arguments = (str(file), "--sentinel")
        return Guarded([], self.home, binary=self.binary, arguments=arguments)


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A short-named directory that is removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="pt-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _user() -> dict[str, Setting]:
    """A user that may do what `ROLES` together may, under the prefix of the tests."""
    if not ROLES:
        return {}
    words = dict.fromkeys(word for role in ROLES for word in rules(role, "peak"))
    del words["reset"]
    return {"user": [f"{USER} >{PASSWORD} {' '.join(words)}"]}


@contextlib.contextmanager
def _one(binary: str, settings: dict[str, Setting], *, tcp: bool) -> Iterator[Server]:
    with home() as path:
        port = free_ports(1)[0] if tcp else 0
        server = Server(binary, path, {**DEFAULTS, **_user(), **settings}, port=port)
        try:
            server.ready()
            yield server
        finally:
            server.stop()


def valkey(*, tcp: bool = False, **conf: Setting) -> contextlib.AbstractContextManager[Server]:
    """The embedded Valkey, on a unix socket unless `tcp`."""
    return _one(server_binary(), conf, tcp=tcp)


def redis_server(
    *, tcp: bool = False, **conf: Setting
) -> contextlib.AbstractContextManager[Server]:
    """The machine's own redis-server; `why_no_redis` says whether there is one."""
    binary = shutil.which("redis-server")
    assert binary is not None, why_no_redis()
    return _one(binary, conf, tcp=tcp)


def why_no_redis() -> str:
    """Empty where a redis-server >= 7.0 is installed, else what is missing."""
    binary = shutil.which("redis-server")
    if binary is None:
        return "no redis-server on PATH (Debian: apt install redis-server)"
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    version = said.partition("v=")[2].split(".")[0]
    if not version.isdigit() or int(version) < 7:
        return f"redis-server is too old, expected >= 7.0: {said.strip()}"
    return ""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below those that outgoing connections get."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(18_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


@contextlib.contextmanager
def several(binary: str = "") -> Iterator[Callable[..., Server]]:
    """A maker of servers that share one life: all are stopped at the end. `binary` is another
    one than the embedded Valkey."""
    made: list[Server] = []
    with home() as path:

        def make(kind: type[Server] = Server, **settings: Setting) -> Server:
            place = path / str(len(made))
            place.mkdir()
            server = kind(binary or server_binary(), place, settings, port=free_ports(1)[0])
            made.append(server)
            return server

        try:
            yield make
        finally:
            for server in reversed(made):
                server.stop()
