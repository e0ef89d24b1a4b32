"""`peakshaver up` in front of an API of our own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyclient.demo.http import request
from tests.cli.support import run
from tests.demo.support import Running, started
from tests.servers import Server, free_ports, until

API = """
import http.server, time
class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1.5)
        body = f"api says {self.path}".encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "api"
    folder.mkdir()
    running = Running([sys.executable, "-c", API], folder)
    try:
        yield f"http://127.0.0.1:{running.wait_for(chr(10)).strip()}"
    finally:
        running.end()


def ask(url: str) -> tuple[int, bytes]:
    return asyncio.run(request(url))


def gateway_of(up: Running) -> str:
    return up.wait_for("curl -i ").partition("curl -i ")[2].split()[0].removesuffix("/hello")


def test_in_front_of_an_api_ctrl_c_drains(tmp_path: Path, api: str) -> None:
    """Issue 2, must show 5: the request that runs is answered, exit 0, no process left."""
    with started(tmp_path, "up", api, "--port", "0") as up:
        url = gateway_of(up)
        assert ask(f"{url}/a%2Fb?c=1") == (201, b"api says /a%2Fb?c=1")
        until(lambda: "answered 1" in up.stdout, what="a status line")
        slow = asyncio.run(_slow_while(up, f"{url}/slow"))
        assert slow == (201, b"api says /slow")
        assert up.wait() == 0, up.words()
        up.none_left(timeout=0.5)
        assert up.stderr == ""
        assert up.stdout.endswith("draining; Ctrl-C again ends it at once\nended\n")


async def _slow_while(up: Running, url: str) -> tuple[int, bytes]:
    """Send a request, and Ctrl-C while it runs."""
    task = asyncio.create_task(request(url))
    await asyncio.to_thread(until, lambda: "running 1" in up.stdout)
    up.signal(signal.SIGINT)
    return await task


def test_the_example_api_and_json(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--json", "--port", "0", "--workers", "1") as up:
        addresses = json.loads(up.wait_for("\n").splitlines()[0])
        status, body = ask(f"{addresses['gateway']}/hello")
        assert (status, json.loads(body)["answer"]) == (200, 42)
        until(lambda: '"answered": 1' in up.stdout, what="a status line")
        up.signal(signal.SIGTERM)
        assert up.wait() == 0
        up.none_left(timeout=0.5)


@pytest.mark.faults
def test_kill_9_leaves_no_process(tmp_path: Path, api: str) -> None:
    with started(tmp_path, "up", api, "--port", "0") as up:
        gateway_of(up)
        up.signal(signal.SIGKILL)
        up.wait()
        up.none_left()


@pytest.mark.faults
def test_a_part_that_dies_ends_it_with_its_words(tmp_path: Path, api: str) -> None:
    with started(tmp_path, "up", api, "--port", "0") as up:
        gateway_of(up)
        (gateway,) = [pid for pid, name in up.family().items() if "gateway_app" in name]
        os.kill(gateway, signal.SIGKILL)
        assert up.wait() == 1
        assert "the gateway ended with exit code -9" in up.stderr
        up.none_left(timeout=0.5)


@pytest.mark.leaves_keys
def test_settings_and_a_server_of_yours_are_used(
    server: Server, tmp_path: Path, api: str, queue_name: str
) -> None:
    (port,) = free_ports(1)
    env = {
        "FAST_PRIORITY_TARGET_BASE_URL": api,
        "FAST_PRIORITY_PORT": str(port),
        "PEAK_REDIS_URL": server.url,
        "PEAK_QUEUE": queue_name,
        "PEAK_WORKER_CONCURRENCY": "3",
        "FAST_PRIORITY_WORKERS": "1",
    }
    with started(tmp_path, "up", **env) as up:
        assert gateway_of(up) == f"http://127.0.0.1:{port}"
        assert "workers  1 x 3: at most 3 at once" in up.stdout
        assert ask(f"http://127.0.0.1:{port}/x") == (201, b"api says /x")
        assert any(queue_name.encode() in key for key in server.client().scan_iter())
        up.signal(signal.SIGINT)
        assert up.wait() == 0


def test_hold_mode_needs_no_worker(tmp_path: Path, api: str) -> None:
    with started(tmp_path, "up", api, "--port", "0", PEAK_MODE="hold", PEAK_CONCURRENCY="2") as up:
        url = gateway_of(up)
        assert ask(f"{url}/x") == (201, b"api says /x")
        assert not any("worker_app" in name for name in up.family().values())
        until(lambda: "answered 1" in up.stdout, what="a status line")
        up.signal(signal.SIGINT)
        assert up.wait() == 0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("up", "http://localhost:1", "--port", port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} can't be listened on" in done.stderr


def test_a_target_that_is_the_gateway_itself() -> None:
    (port,) = free_ports(1)
    done = run("up", f"http://localhost:{port}", "--port", str(port))
    assert done.returncode == 1
    assert "round in circles" in done.stderr


@pytest.mark.parametrize("target", ["localhost:9000", "ftp://x", "http://", "http://a:b@c"])
def test_a_target_that_is_no_address(target: str) -> None:
    done = run("up", target)
    assert done.returncode == 2
    assert "expected http://host[:port]" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port", "65536"], "expected 0..65535, got '65536'"),
        (["--port", "-1"], "expected 0..65535, got '-1'"),
        (["--workers", "0"], "expected 1..1024, got '0'"),
        (["--workers", "two"], "expected 1..1024, got 'two'"),
        (["--concurrency", "1025"], "expected 1..1024, got '1025'"),
    ],
)
def test_numbers_out_of_their_ranges_are_wrong_usage(words: list[str], expected: str) -> None:
    done = run("up", "http://localhost:1", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {words[0]}: {expected}" in done.stderr
