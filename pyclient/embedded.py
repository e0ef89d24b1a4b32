"""An embedded Valkey: no service to install, and none left behind.

    with EmbeddedServer.start() as server:      # private, empty, gone with the process tree
        queue = Queue.from_url(server.url)

`embedded://` is one private server for this process and its forks. It ends with the last of
them, also after kill -9; a child that is started by exec reaches it by its address. `embedded://DIR`
is shared by all processes of this user and persistent: a lock in DIR elects who starts it, the
others join, and when the owner goes the next to ask starts it again on the same data.

The server has a session of its own (Ctrl-C does not reach it) and listens on a unix socket in a
directory of mode 0700, with no TCP and no password. With `tcp=True` it is 127.0.0.1 with
a random password, which travels by a pipe: it is in no file, argument or environment variable.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

from .embedded_process import Guarded, alive, ask, quoted
from .errors import ConfigError, PeakError, Unavailable

SOCKET_BYTES = 100  # sun_path holds 104 on macOS, 108 on Linux
START_S = 10.0
_TCP_TRIES = 8
_DEFAULTS = ("maxmemory 256mb", "maxmemory-policy noeviction", 'save ""', "daemonize no")


class EmbeddedServer:
    """A server that was started here, or joined; see the module for who ends it when."""

    def __init__(self, url: str, pid: int, guarded: Guarded | None) -> None:
        self.url = url
        self.pid = pid
        self._guarded = guarded

    @classmethod
    def start(
        cls, directory: str | None = None, *, tcp: bool = False, extra: Sequence[str] = ()
    ) -> EmbeddedServer:
        """Start one and wait until it serves (about 60 ms); blocking.

        With `directory` its data are kept there, and only one server runs on it: raises
        `Unavailable` where another does (`shared` joins it). `extra` are lines of
        configuration and win over the defaults; quote values with `quoted`.
        """
        _posix_only()
        if directory is None:
            return cls._launch(None, None, tcp=tcp, extra=extra)
        home = _home(directory)
        lock = _try_lock(home)
        if lock is None:
            raise Unavailable(
                f"{home} is served by another process; shared({directory!r}) joins it"
            )
        return cls._elected(home, lock, tcp=tcp, extra=extra)

    @classmethod
    def _elected(
        cls, home: Path, lock: int, *, tcp: bool = False, extra: Sequence[str] = ()
    ) -> EmbeddedServer:
        """Start on a directory whose lock we hold. Guard and server keep the lock, not we: it
        is free again at the moment in which the server is gone, whoever else has been forked."""
        try:
            return cls._launch(home, lock, tcp=tcp, extra=extra)
        finally:
            os.close(lock)

    @classmethod
    def _launch(
        cls, kept: Path | None, lock: int | None, *, tcp: bool, extra: Sequence[str]
    ) -> EmbeddedServer:
        for left in reversed(range(_TCP_TRIES if tcp else 1)):
            home = kept or _private_directory()
            url, address = _tcp_address() if tcp else _unix_address(home, private=kept is None)
            keep = "no" if kept is None else "yes"
            config = [*_DEFAULTS, f"dir {quoted(str(home))}", f"appendonly {keep}", *address]
            try:
                guarded = Guarded([*config, *extra], home, remove=kept is None, pass_fd=lock)
                guarded.wait_until_serving(url, timeout=START_S)
            except PeakError as error:
                if kept is None:  # nothing may have come so far as to remove it
                    shutil.rmtree(home, ignore_errors=True)
                if not left or "in use" not in str(error):
                    raise
                continue
            server = cls(url, guarded.pid, guarded)
            atexit.register(server.stop)
            return server
        raise AssertionError("unreachable")

    @property
    def owned(self) -> bool:
        """Whether this process started it, so that `stop` ends it."""
        return self._guarded is not None and self._guarded.owned

    def running(self) -> bool:
        """Whether it is there; of a server that was joined, whether it answers."""
        return alive(self.url) if self._guarded is None else self._guarded.running()

    def stop(self) -> None:
        """End the server if this process started it; else, and when called again, nothing."""
        if self.owned and self._guarded is not None:
            self._guarded.stop()
            atexit.unregister(self.stop)

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


_private: EmbeddedServer | None = None
_private_lock = threading.Lock()


def private() -> EmbeddedServer:
    """The one behind `embedded://`: the same for every caller in this process and its forks."""
    global _private
    with _private_lock:
        if _private is None or not _private.running():
            if _private is not None:
                _private.stop()  # its guard and its directory are still there
            _private = EmbeddedServer.start()
        return _private


def _after_fork() -> None:
    """Another thread may have held it, of which the child has nothing."""
    global _private_lock
    _private_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def shared(directory: str) -> EmbeddedServer:
    """Join the server on this directory, or start it if nobody runs it. Blocking, bounded.

    Its end is seen as a lost connection; call again then.
    """
    _posix_only()
    home = _home(directory)
    url, _ = _unix_address(home, private=False)
    until, pause = time.monotonic() + START_S, 0.002
    while True:
        lock = _try_lock(home)
        if lock is not None:
            return EmbeddedServer._elected(home, lock)
        pid = _pid_of(url)
        if pid:
            return EmbeddedServer(url, pid, None)
        if time.monotonic() > until:
            raise Unavailable(
                f"the server on {home} does not answer, but something holds {home / 'lock'} "
                f"(`fuser {home / 'lock'}` tells what); its last words: {home / 'server.log'}"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def open_url(url: str) -> EmbeddedServer:
    """The server of an `embedded://` or `embedded://DIR` address, started if need be.

    `embedded:///var/lib/x` is absolute, `embedded://data/x` relative to where we are.
    """
    parts = urlsplit(url)
    if parts.scheme != "embedded" or parts.query or parts.fragment:
        raise ConfigError(f"expected embedded:// or embedded://DIR, got {url!r}")
    directory = unquote(parts.netloc + parts.path)
    return shared(directory) if directory else private()


def _posix_only() -> None:
    if os.name != "posix":
        raise ConfigError(
            "embedded:// works on Linux and macOS only. Give a server: PEAK_REDIS_URL=redis://…"
        )


def _pid_of(url: str) -> int:
    """The process id of a server that serves, else 0."""
    try:
        facts = ask(url, "INFO", "server")
    except OSError:
        return 0
    for line in facts.splitlines():
        if line.startswith(b"process_id:"):
            return int(line.partition(b":")[2])
    return 0


def _private_directory() -> Path:
    """A new directory of mode 0700, short enough for a socket in it."""
    directory = tempfile.mkdtemp(prefix="peak-")
    if len(os.fsencode(directory)) + len("/s") > SOCKET_BYTES:
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix="peak-", dir="/tmp")
    return Path(directory)


def _home(directory: str) -> Path:
    try:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(directory).resolve(strict=True)
    except OSError as error:
        raise ConfigError(
            f"embedded://{directory}: no directory to keep data in: {error}"
        ) from None


def _try_lock(home: Path) -> int | None:
    """An open file that holds the lock of a directory, or None where somebody has it."""
    import fcntl  # not on Windows

    try:
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"embedded://{home}: expected to own its lock file: {error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _unix_address(home: Path, *, private: bool) -> tuple[str, list[str]]:
    """Address and configuration of the socket. The folder of a shared one is part of the
    contract between processes: it follows from the directory's path alone."""
    folder = home if private else _own_folder(_socket_folder(home))
    path = str(folder / "s")
    lines = ["port 0", f"unixsocket {quoted(path)}", "unixsocketperm 700"]
    return f"unix://{quote(path)}", lines


def _socket_folder(home: Path) -> Path:
    if len(os.fsencode(home / "run" / "s")) <= SOCKET_BYTES:
        return home / "run"
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:24]
    return Path(f"/tmp/peak-{os.getuid()}-{digest}")


def _own_folder(folder: Path) -> Path:
    """Make it with mode 0700; one in /tmp that someone else made first is not ours to use."""
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to someone else; expected a directory of our own")
    if facts.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def _tcp_address() -> tuple[str, list[str]]:
    """A port by chance: to start and see is the only test that no other process can win."""
    port, password = 20_000 + secrets.randbelow(40_000), secrets.token_hex(32)
    lines = ["bind 127.0.0.1", f"port {port}", f"requirepass {quoted(password)}"]
    return f"redis://:{password}@127.0.0.1:{port}", lines


__all__ = ["EmbeddedServer", "alive", "open_url", "private", "quoted", "shared"]
