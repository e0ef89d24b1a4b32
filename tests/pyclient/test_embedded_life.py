"""The embedded server: it ends with its owners, however they go, and not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from pyclient import embedded
from pyclient.embedded import EmbeddedServer, alive, shared
from pyclient.embedded_process import GUARD, server_binary
from pyclient.errors import ConfigError, Unavailable
from tests import leaks
from tests.servers import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")

START = "from pyclient.embedded import *\nserver = EmbeddedServer.start()\n"
TELL = "print(server.pid, int(server.owned), server.url, flush=True)\n"
WAIT = "import sys; sys.stdin.read()\n"


class Owner:
    """Another Python process that starts or joins a server and says which."""

    def __init__(self, code: str) -> None:
        root = str(Path(embedded.__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(self) -> tuple[int, bool, str]:
        """Pid, whether that process owns it, address."""
        assert self.process.stdout is not None
        pid, owned, url = self.process.stdout.readline().split()
        return int(pid), owned == "1", url

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.close()

    def close(self) -> None:
        """End its standard input, so that it ends in good order."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait(timeout=20)


@contextmanager
def owner(code: str) -> Iterator[Owner]:
    one = Owner(code)
    try:
        yield one
    finally:
        one.end()


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_goes_with_its_owner(number: signal.Signals) -> None:
    with owner(START + TELL + WAIT) as one:
        pid, _, url = one.told()
        assert alive(url)
        one.end(number)
        until(lambda: gone(pid), timeout=5)
        until(lambda: not Path(url.removeprefix("unix://")).parent.exists(), timeout=5)


def test_whenever_its_owner_is_killed_nothing_serves_on(tmp_path: Path) -> None:
    place = f"import tempfile\ntempfile.tempdir = {str(tmp_path)!r}\n"
    code = "import pyclient.embedded\nprint('1 1 x', flush=True)\n" + place + START + WAIT
    for wait_ms in range(0, 72, 6):
        with owner(code) as one:
            one.told()
            time.sleep(wait_ms / 1000)
    until(lambda: str(tmp_path) not in " ".join(leaks.children().values()), timeout=8)
    until(lambda: not list(tmp_path.glob("*/s")), timeout=5)


def test_an_owner_that_is_gone_before_it_hears_of_the_server_leaves_nothing(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    reading, writing = os.pipe()
    call = [sys.executable, "-I", "-S", str(GUARD), str(home), server_binary(), "-"]
    guard = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE)
    os.close(reading)
    os.close(writing)
    config = f'port 0\nunixsocket "{home}/s"\n'.encode()
    _, complaint = guard.communicate(b"%d\n%s" % (len(config), config), timeout=10)
    assert (guard.returncode, home.exists()) == (0, False), complaint


def test_it_is_gone_before_its_owner_has_ended_in_good_order() -> None:
    with owner(START + TELL) as one:
        pid, _, _ = one.told()
        one.close()
        assert gone(pid)


def test_a_fork_that_exits_does_not_end_it() -> None:
    fork = "import os, sys\nif os.fork() == 0:\n    server.stop()\n    sys.exit()\nos.wait()\n"
    with owner(START + fork + TELL + WAIT) as one:
        pid, _, url = one.told()
        assert alive(url)
        one.close()
        assert gone(pid)


def test_a_fork_in_the_middle_of_a_start_can_start_one_of_its_own() -> None:
    held = "from pyclient import embedded\nembedded._private_lock.acquire()\nimport os\n"
    fork = "if os.fork():\n    os.wait()\n    raise SystemExit\nserver = embedded.private()\n"
    with owner(held + fork + TELL + WAIT) as one:
        pid, owned, url = one.told()
        assert owned
        assert alive(url)
        one.close()
        assert gone(pid)


def test_it_lives_as_long_as_a_fork_of_its_owner() -> None:
    fork = "import os, time\nchild = os.fork()\nif child == 0:\n    time.sleep(60)\n"
    tell = "print(child, 1, server.url, flush=True)\n"
    with owner(START + fork + tell + TELL + WAIT) as one:
        child, _, _ = one.told()
        pid, _, url = one.told()
        one.process.kill()
        one.process.wait()
        with pytest.raises(AssertionError):
            until(lambda: gone(pid), timeout=0.5)
        assert alive(url)
        os.kill(child, signal.SIGKILL)
        until(lambda: gone(pid), timeout=5)


def test_a_program_that_its_owner_ran_does_not_keep_it() -> None:
    run = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    tell = "print(child.pid, 1, server.url, flush=True)\n"
    with owner(START + run + tell + TELL + WAIT) as one:
        child, _, _ = one.told()
        pid, _, _ = one.told()
        one.process.kill()
        one.process.wait()
        try:
            until(lambda: gone(pid), timeout=5)
        finally:
            os.kill(child, signal.SIGKILL)


def test_it_goes_with_its_guard() -> None:
    server = EmbeddedServer.start()
    assert server._guarded is not None
    os.kill(server._guarded.session, signal.SIGKILL)
    until(lambda: gone(server.pid), timeout=5)
    folder = server._guarded.directory
    server.stop()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_a_frozen_server_is_killed_after_three_seconds() -> None:
    with EmbeddedServer.start() as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert gone(server.pid)


def test_a_shared_one_keeps_its_data(tmp_path: Path) -> None:
    with shared(str(tmp_path / "data")) as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    with shared(str(tmp_path / "data")) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


def test_the_second_to_ask_joins_and_cannot_stop_it(tmp_path: Path) -> None:
    with shared(str(tmp_path)) as first:
        second = shared(str(tmp_path))
        assert (second.pid, second.url, second.owned) == (first.pid, first.url, False)
        second.stop()
        assert second.running()
        with pytest.raises(Unavailable, match="served by another process"):
            EmbeddedServer.start(str(tmp_path))
    assert not second.running()


def test_of_many_that_ask_at_once_one_starts_it_and_all_get_it(tmp_path: Path) -> None:
    code = f"from pyclient.embedded import shared\nserver = shared({str(tmp_path)!r})\n"
    many = [Owner(code + TELL + WAIT) for _ in range(5)]
    try:
        told = [one.told() for one in many]
        assert len({(pid, url) for pid, _, url in told}) == 1
        assert [owned for _, owned, _ in told].count(True) == 1
    finally:
        for one in many:
            one.end()
    until(lambda: gone(told[0][0]), timeout=5)


def test_after_kill_9_of_the_owner_the_next_to_ask_starts_it_on_the_same_data(
    tmp_path: Path,
) -> None:
    code = f"from pyclient.embedded import shared\nserver = shared({str(tmp_path)!r})\n"
    with owner(code + TELL + WAIT) as one:
        pid, owned, url = one.told()
        assert owned
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
        one.end(signal.SIGKILL)
        until(lambda: gone(pid), timeout=5)
        with shared(str(tmp_path)) as server, redis.Redis.from_url(server.url) as client:
            assert server.owned
            assert client.get("kept") == b"yes"


def test_a_fork_of_the_owner_does_not_hold_the_lock(tmp_path: Path) -> None:
    fork = "import os\nif os.fork() == 0:\n    os.close(1); import time; time.sleep(60)\n"
    code = f"from pyclient.embedded import shared\nserver = shared({str(tmp_path)!r})\n"
    with owner(code + fork + TELL + "server.stop(); print('1 1 x', flush=True)\n" + WAIT) as one:
        pid, _, _ = one.told()
        one.told()
        assert gone(pid)
        with shared(str(tmp_path)) as server:
            assert server.owned
        os.kill(_child_of(one.process.pid), signal.SIGKILL)


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_a_shared_directory_with_a_long_name_has_its_socket_in_tmp(tmp_path: Path) -> None:
    long = tmp_path / ("y" * 100)
    with shared(str(long)) as server:
        folder = Path(server.url.removeprefix("unix://")).parent
        assert str(folder).startswith(f"/tmp/peak-{os.getuid()}-")
        assert shared(str(long)).pid == server.pid
    folder.rmdir()


def test_a_socket_directory_that_someone_else_made_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "run").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="belongs to someone else"):
        shared(str(tmp_path / "data"))


def test_a_socket_directory_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o777)
    (tmp_path / "run").chmod(0o777)
    with shared(str(tmp_path)):
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no directory to keep data in"):
        shared(str(tmp_path / "file"))


def test_a_lock_without_a_server_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyclient.embedded.START_S", 0.2)
    lock = embedded._try_lock(tmp_path)
    assert lock is not None
    try:
        with pytest.raises(Unavailable, match="something holds"):
            shared(str(tmp_path))
    finally:
        os.close(lock)
