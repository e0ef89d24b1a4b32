"""What can stand before the application, or hold it: the processes of each, and where wrk calls."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import peers

from .server import Server, free_port

HERE = Path(__file__).resolve().parents[1] / "http"
APPLICATION_SLOTS = 32


@dataclass
class Gateway:
    """Processes by role, in the order of their start, and the port to call."""

    port: int
    roles: Mapping[str, Sequence[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


def names() -> list[str]:
    """Those that can run here, the bare application first."""
    found = ["bare", "hold", "worker", "embedded"]
    if shutil.which("haproxy"):
        found.append("haproxy")
    return found + [name for name in ("fastapi_queue", "fast_priority") if peers.ready(name)]


def gateway(name: str, server: Server, **given: int) -> Gateway:
    """The processes of one. `given` may set gateways, workers and worker_concurrency."""
    app, front = free_port(), free_port()
    count = {"gateways": 1, "workers": 1, "worker_concurrency": 64} | given
    redis = {"PEAK_REDIS_URL": server.url, "PEAK_LOG_LEVEL": "warning"}
    application: dict[str, Sequence[str]] = {
        "app": uvicorn(sys.executable, "bench.http.bare_app:app", app)
    }
    target = {"FAST_PRIORITY_TARGET_BASE_URL": f"http://127.0.0.1:{app}"}
    match name:
        case "bare":
            return Gateway(app, application)
        case "haproxy":
            proxy: dict[str, Sequence[str]] = {
                "gateway": ["haproxy", "-db", "-f", str(HERE / "haproxy.cfg")]
            }
            ports = {"BENCH_GATEWAY_PORT": str(front), "BENCH_APP_PORT": str(app)}
            return Gateway(front, application | proxy, ports, {"maxconn": APPLICATION_SLOTS})
        case "hold" | "worker":
            return _ours(name, front, application, redis | target, count)
        case "embedded":
            worker = _module("worker_app", "bench.http.embedded_worker:worker")
            roles = {
                "gateway": uvicorn(sys.executable, "bench.http.embedded_app:app", front),
                "worker": [*worker, "-p", str(count["workers"])],
            }
            return Gateway(front, roles, redis)
        case "fastapi_queue":
            python = str(peers.python(name))
            roles = {
                "gateway": uvicorn(python, "bench.http.fastapi_queue_app:app", front),
                "worker": [python, "-m", "bench.http.fastapi_queue_worker"],
            }
            return Gateway(front, roles, redis | {"BENCH_CONCURRENCY": "64"})
        case "fast_priority":
            return _fast_priority(front, application, target, server)
    raise ValueError(f"no gateway {name!r}: expected one of {', '.join(names())}")


def _ours(
    mode: str,
    port: int,
    application: Mapping[str, Sequence[str]],
    env: Mapping[str, str],
    count: Mapping[str, int],
) -> Gateway:
    """gateway_app in either mode, before the application."""
    ours = _module("gateway_app", "-w", str(count["gateways"]), "--host", "127.0.0.1")
    roles: dict[str, Sequence[str]] = {**application, "gateway": [*ours, "--port", str(port)]}
    settings = {"PEAK_MODE": mode, "PEAK_CONCURRENCY": str(APPLICATION_SLOTS)}
    if mode == "worker":
        settings["PEAK_CONCURRENCY"] = str(count["workers"] * count["worker_concurrency"])
        settings["PEAK_WORKER_CONCURRENCY"] = str(count["worker_concurrency"])
        roles["worker"] = _module("worker_app", "-p", str(count["workers"]))
    shown: dict[str, object] = {**settings, "gateway processes": count["gateways"]}
    if mode == "worker":
        shown["worker processes"] = count["workers"]
    return Gateway(port, roles, {**env, **settings}, shown)


def _fast_priority(
    port: int, application: Mapping[str, Sequence[str]], target: Mapping[str, str], server: Server
) -> Gateway:
    """The seed of this project, polling every 10 ms; its worker is rq's."""
    python = str(peers.python("fast_priority"))
    redis = f"redis://127.0.0.1:{server.port}"
    roles = {
        **application,
        "gateway": uvicorn(python, "fast_priority.app:app", port),
        "worker": [python, "-m", "rq.cli", "worker", "high", "low", "--quiet", "--url", redis],
    }
    poll = {"FAST_PRIORITY_POLL_INTERVAL": "0.01", "FAST_PRIORITY_REDIS_PORT": str(server.port)}
    return Gateway(port, roles, {**target, **poll})


def uvicorn(python: str, target: str, port: int) -> list[str]:
    """One process of uvicorn as quick as it goes."""
    quick = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
    quiet = ("--log-level", "warning", "--backlog", "4096")
    return [python, "-m", "uvicorn", target, "--port", str(port), *quick, *quiet]


def _module(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]
