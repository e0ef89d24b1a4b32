"""The gateway as processes: start, wrong settings, drain, restart, and what its log holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests import servers

from .stack import (
    ROOT,
    Gateway,
    Process,
    Reply,
    Stack,
    children,
    get,
    raw,
    read_all,
    request,
    started,
    until,
)
from .target import Target

pytestmark = pytest.mark.leaves_processes


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "FAST_PRIORITY_TARGET_BASE_URL is not set"),
        (
            {"FAST_PRIORITY_HIGH_PRIO_PATHS": "bogus"},
            "expected one of unlisted, listed, got 'bogus'",
        ),
        ({"FAST_PRIORITY_TARGET_BASE": "http://a"}, "Did you mean FAST_PRIORITY_TARGET_BASE_URL?"),
        ({"FAST_PRIORITY_TARGET_BASE_URL": "a:80"}, "expected http://host"),
        (
            {"FAST_PRIORITY_TARGET_BASE_URL": "http://a", "FAST_PRIORITY_HOST": "192.0.2.1"},
            "listen",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_1(
    tmp_path: Path, env: dict[str, str], message: str
) -> None:
    with started(process := Process(["gateway_app"], env, tmp_path)):
        assert process.wait() == 1
        (line,) = process.output().splitlines()
        assert message in line


def test_settings_of_the_working_directory_count(target: Target, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"FAST_PRIORITY_TARGET_BASE_URL={target.url}\n")
    with (
        servers.valkey() as redis,
        started(gateway := Gateway({"PEAK_REDIS_URL": redis.url}, tmp_path)),
    ):
        assert get(gateway.ready().port, "/health").status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_what_runs_and_the_exit_code_is_0(
    redis: servers.Server, target: Target, tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    target.reset()
    env = _hold(redis, target)
    with started(gateway := Gateway(env, tmp_path, "-w", workers)):
        port = gateway.ready().port
        replies: list[Reply] = []
        threads = [
            threading.Thread(target=lambda: replies.append(get(port, "/gate/x"))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        until(lambda: target.active == 4, "all run")
        gateway.popen.send_signal(number)
        until(lambda: not _accepts(port), "no new connections")
        target.gate.set()
        for thread in threads:
            thread.join()
        assert [reply.body for reply in replies] == [b"x"] * 4
        assert gateway.wait() == 0


def test_a_signal_to_all_processes_drains_as_one_to_the_parent(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    """As systemd sends it: each child gets one of its own and that of its parent."""
    target.reset()
    with started(gateway := Gateway(_hold(redis, target), tmp_path, "-w", "2")):
        port = gateway.ready().port
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            sock.sendall(request("GET", "/gate/x"))
            until(lambda: target.active == 1, "it runs")
            family = children(gateway.pid)
            for pid in family:
                os.kill(pid, signal.SIGTERM)
            until(lambda: len(gateway.lines("gateway drains")) == 2, "both drain")
            for pid in [*family, gateway.pid]:
                if _alive(pid):  # the one that had nothing to do has ended
                    os.kill(pid, signal.SIGTERM)
            until(lambda: not _accepts(port), "no new connections")
            target.gate.set()
            assert read_all(sock).endswith(b"x")
        assert gateway.wait() == 0


def _hold(redis: servers.Server, target: Target) -> dict[str, str]:
    return {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_MODE": "hold",
        "PEAK_QUEUE": "drain",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
    }


def _accepts(port: int) -> bool:
    try:
        raw(port, b"", timeout=0.2)
    except OSError:
        return False
    return True


def test_what_still_waits_at_the_end_of_the_drain_gets_a_503(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_QUEUE": "nobody",
        "PEAK_DRAIN_TIMEOUT": "0.5",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
    }
    with started(gateway := Gateway(env, tmp_path)):
        port = gateway.ready().port
        replies: list[Reply] = []
        thread = threading.Thread(target=lambda: replies.append(get(port, "/x")))
        thread.start()
        until(
            lambda: get(port, "/gateway_health").json()["queue"] == {"high": 1, "low": 0}, "waits"
        )
        assert gateway.stop() == 0
        thread.join()
        assert (replies[0].status, replies[0].json()["code"]) == (503, "stopping")
        assert replies[0].all(b"retry-after")
    until(lambda: redis.client().hlen("peak:{nobody}:tasks") == 0, "taken out of the line")


def test_what_uploads_or_passes_through_at_the_end_of_the_drain_gets_a_503_too(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    env = {
        "PEAK_REDIS_URL": redis.url,
        "PEAK_DRAIN_TIMEOUT": "0.5",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_PASS_THROUGH": "silent",
    }
    with started(gateway := Gateway(env, tmp_path)):
        port = gateway.ready().port
        with (
            socket.create_connection(("127.0.0.1", port), 20) as upload,
            socket.create_connection(("127.0.0.1", port), 20) as passing,
        ):
            upload.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
            passing.sendall(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: target.heads(b"/silent"), "it is asked")
            assert gateway.stop() == 0
            replies = [Reply(read_all(sock)) for sock in (upload, passing)]
    assert [(reply.status, reply.json()["code"]) for reply in replies] == [(503, "stopping")] * 2


def test_a_second_signal_ends_the_wait(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    with started(gateway := Gateway(_hold(redis, target), tmp_path)):
        port = gateway.ready().port
        thread = threading.Thread(target=raw, args=(port, request("GET", "/gate/x")))
        thread.start()
        until(lambda: target.active == 1, "it runs")
        gateway.popen.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 5
        target.gate.set()
        thread.join()


def test_a_process_that_dies_is_replaced(
    redis: servers.Server, target: Target, tmp_path: Path
) -> None:
    target.reset()
    with started(gateway := Gateway(_hold(redis, target), tmp_path, "-w", "2")):
        port = gateway.ready().port
        before = children(gateway.pid)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(set(children(gateway.pid)) - set(before)) == 1, "a new process")
        until(lambda: get(port, "/echo").status == 200, "serves")
        gateway.popen.kill()  # its children must not outlive it
        family = children(gateway.pid)
        gateway.wait()
        until(lambda: not any(_alive(pid) for pid in [*family, *before]), "no child is left")


def _alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_no_secret_gets_into_the_log(redis: servers.Server, target: Target, tmp_path: Path) -> None:
    env = {
        "PEAK_REDIS_URL": redis.url.replace("unix://", "unix://user:CANARY@"),
        "FAST_PRIORITY_REDIS_PASSWORD": "CANARY",
        "PEAK_ACCESS_LOG": "all",
        "PEAK_LOG_LEVEL": "debug",
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_PASS_THROUGH": "echo,close",
    }
    with started(gateway := Gateway(env, tmp_path)):
        until(lambda: gateway.lines("gateway listens"), "listening")
        port = int(str(gateway.lines("gateway listens")[0]["url"]).rpartition(":")[2])
        until(lambda: raw(port, request("GET", "/gateway_live")), "answers")
        for path in ("/echo", "/close", "/queued"):
            get(port, f"{path}?token=CANARY", b"Authorization: CANARY", b"Cookie: CANARY")
        until(lambda: len(gateway.lines("request")) == 3, "logged")
        gateway.stop()
        assert "CANARY" not in gateway.output()
        assert all(line.startswith("{") for line in gateway.output().splitlines())


@pytest.mark.parametrize("command", [["uvicorn", "gateway_app.app:app"], ["fastapi", "run"]])
def test_other_ways_to_run_it_serve_too(
    redis: servers.Server, target: Target, tmp_path: Path, command: list[str]
) -> None:
    target.reset()
    if command[0] == "fastapi":
        pytest.importorskip("fastapi_cli")
        command = [*command, str(ROOT / "gateway_app" / "app.py")]
    (port,) = servers.free_ports(1)
    env = _hold(redis, target)
    with started(Process([*command, "--host", "127.0.0.1", "--port", str(port)], env, tmp_path)):
        until(lambda: _accepts(port), "listening")
        until(lambda: get(port, "/echo").status == 200, "serves")
        reply = get(port, "/a%2Fb?x=%26")
        assert reply.body.startswith(b"GET /a%2Fb?x=%26 HTTP/1.1\r\n")
        assert len(reply.all(b"date")) == len(reply.all(b"server")) == 1
        assert get(port, "/gateway_live").status == 200


def test_a_wrong_setting_is_one_line_for_other_servers_too(tmp_path: Path) -> None:
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-m", "uvicorn", "gateway_app.app:app", "--port", "0"],
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode != 0
    assert "gateway: FAST_PRIORITY_TARGET_BASE_URL is not set" in found.stderr
    assert "Traceback" not in found.stderr


def test_importing_the_module_needs_no_settings(stack: Stack) -> None:
    code = "import gateway_app.app as m; assert 'app' in dir(m); m.create_app"
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=clean, check=True, timeout=30)
