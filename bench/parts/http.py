"""Requests a second through a gateway, as shares of what the bare application does in the run."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bench.harness import plots
from bench.harness.gateways import Gateway, gateway, names
from bench.harness.machine import load, resident_bytes, steal
from bench.harness.options import Check, Options, interleaved, result_of
from bench.harness.process import Process
from bench.harness.server import Server
from bench.harness.stats import medians, ratio
from bench.harness.tables import millis, number, table
from bench.harness.trial import open_log

SUMMARY = "HTTP: bare app, hold, worker and embedded; HAProxy and fastapi-queue beside them"
LEVELS = (1, 32, 256)
READY_S = 20.0
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
# Too slow for a warm-up, whose abandoned requests would stay in its queue.
SLOW = ("fast_priority",)


def measure(options: Options) -> dict[str, Any]:
    """wrk, one thread, keep-alive; all processes share the machine."""
    if shutil.which("wrk") is None:
        raise SystemExit("the part http takes wrk: install it (apt install wrk)")
    chosen = list(options.gateways) or names()
    seconds = 1 if options.quick else max(2, round(options.seconds * 2))
    with Server(options.server) as server:

        def all_of_it() -> dict[str, Any]:
            runs = interleaved(
                chosen, options.repeats, lambda name, _: through(name, server, LEVELS, seconds)
            )
            rows = {name: medians(several) for name, several in runs.items()}
            return {"settings": {"seconds": seconds, **_stated(rows)}, "rows": rows, "runs": runs}

        return result_of("http", options, server.name, all_of_it)


def _stated(rows: dict[str, Any]) -> dict[str, str]:
    """Process counts and limits of the gateways that have some."""
    return {
        name: " ".join(f"{key}={value}" for key, value in row["settings"].items())
        for name, row in rows.items()
        if row["settings"]
    }


def through(
    name: str, server: Server, levels: tuple[int, ...], seconds: int, **given: int
) -> dict[str, Any]:
    """Figures by connections; `failed` where it did not answer."""
    server.ask("FLUSHALL")
    door = gateway(name, server, **given)
    found: dict[str, Any] = {"settings": door.settings}
    running: dict[str, Process] = {}
    with open_log(f"http-{name}") as log:
        try:
            for role, command in door.roles.items():
                running[role] = Process(command, door.env, log)
            wait_ready(door)
            for level in levels:
                if name not in SLOW:
                    wrk(door.port, level, 1)
                found[str(level)] = _phase(server, door, running, level, seconds)
        except RuntimeError as error:
            found["failed"] = str(error)
        finally:
            for process in reversed(running.values()):
                process.stop()
    return found


def wait_ready(door: Gateway) -> None:
    """Until it answers 200. Raises RuntimeError."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{door.port}/", timeout=10) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"no 200 within {READY_S:g} s")
        time.sleep(0.1)


def _phase(
    server: Server, door: Gateway, running: dict[str, Process], level: int, seconds: int
) -> dict[str, Any]:
    before, stolen = server.counters(), steal()
    spent = {role: process.cpu() for role, process in running.items()}
    figures = wrk(door.port, level, seconds)
    count = max(1, figures["done"])
    cost = server.counters().since(before, count)
    cpu = {role: (one.cpu() - spent[role]) * 1e6 / count for role, one in running.items()}
    return {
        **figures,
        "commands": cost["commands"],
        "script_us": cost["script_us"],
        "cpu_us": {**cpu, "redis": cost["cpu_redis_us"]},
        "resident_mb": {role: resident_bytes(one.pid) / 1e6 for role, one in running.items()},
        "load": load(),
        "steal_s": steal() - stolen,
    }


def wrk(port: int, connections: int, seconds: int) -> dict[str, Any]:
    """One run of wrk; times in seconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    command.append(f"http://127.0.0.1:{port}/")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    return read_wrk(done.stdout)


def read_wrk(text: str) -> dict[str, Any]:
    """The figures of wrk's report."""

    def first(pattern: str, default: str = "0") -> str:
        match = re.search(pattern, text)
        return match[1] if match else default

    errors = re.search(r"errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return {
        "rate": float(first(r"Requests/sec:\s+([\d.]+)")),
        "p50": _seconds(first(r"\n\s+50%\s+(\S+)", "0s")),
        "p99": _seconds(first(r"\n\s+99%\s+(\S+)", "0s")),
        "done": int(first(r"(\d+) requests in")),
        "refused": int(first(r"Non-2xx or 3xx responses: (\d+)")),
        "errors": sum(map(int, errors.groups())) if errors else 0,
    }


def _seconds(text: str) -> float:
    match = re.match(r"([\d.]+)(us|ms|s|m)", text)
    if match is None:
        raise RuntimeError(f"expected a time in wrk's report, got {text!r}")
    return float(match[1]) * UNITS[match[2]]


def check(result: dict[str, Any]) -> list[Check]:
    """Shares of the bare application's, and added times."""
    rows = result["rows"]

    def of(name: str, level: int, what: str = "rate") -> float | None:
        found: float | None = rows.get(name, {}).get(str(level), {}).get(what)
        return found

    def share(name: str, level: int) -> float | None:
        return ratio(of(name, level), of("bare", level))

    def added(name: str) -> float | None:
        ours, bare = of(name, 1, "p50"), of("bare", 1, "p50")
        return None if ours is None or bare is None else round((ours - bare) * 1000, 3)

    p99, peer = of("worker", 256, "p99"), of("fastapi_queue", 32)
    unserved = [of("worker", 256, what) for what in ("errors", "refused")]
    return [
        Check("hold at 32 / bare", 0.70, share("hold", 32)),
        Check("hold at 256 / bare", 0.70, share("hold", 256)),
        Check(
            "hold at 256: p99 / bare's",
            1.5,
            ratio(of("hold", 256, "p99"), of("bare", 256, "p99")),
            at_most=True,
        ),
        Check("worker at 32 / bare", 0.45, share("worker", 32)),
        Check(
            "worker at 256: errors and refusals",
            0,
            None if None in unserved else sum(one or 0 for one in unserved),
            at_most=True,
        ),
        Check("worker at 256: p99, ms", 250, p99 and p99 * 1000, at_most=True),
        Check("embedded at 32 / fastapi-queue", 4.0, ratio(of("embedded", 32), peer)),
        Check("hold at 1: added p50, ms", 0.8, added("hold"), at_most=True),
        Check("worker at 1: added p50, ms", 2.0, added("worker"), at_most=True),
    ]


def show(result: dict[str, Any]) -> str:
    """A line for each number of connections."""
    rows = []
    for name, row in result["rows"].items():
        for level in LEVELS:
            one = row.get(str(level))
            if one is None:
                rows.append((name, level, "-", "-", "-", "-", "-", row.get("failed", ""), "-"))
                continue
            bare = result["rows"].get("bare", {}).get(str(level), {}).get("rate")
            share = ratio(one["rate"], bare)
            cpu = ", ".join(f"{role} {number(value)}" for role, value in one["cpu_us"].items())
            rows.append(
                (
                    name,
                    level,
                    number(one["rate"]),
                    "-" if share is None else f"{share:.0%}",
                    millis(one["p50"]),
                    millis(one["p99"]),
                    f"{number(one['errors'])} / {number(one['refused'])}",
                    cpu,
                    number(one["script_us"], 1),
                )
            )
    head = ("", "connections", "a second", "of bare", "p50 ms", "p99 ms", "errors / refused")
    return table((*head, "CPU µs a request", "µs of scripts"), rows)


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Bars at 32 and at 256 connections."""
    paths: list[Path] = []
    for level in LEVELS[1:]:
        rates = {
            f"peakshaver {name}" if name in ("hold", "worker", "embedded") else name: (
                row.get(str(level), {}).get("rate")
            )
            for name, row in result["rows"].items()
        }
        title = f"HTTP requests a second, {level} connections"
        paths += plots.bars(folder, f"http-{level}", title, rates, unit="a second")
    return paths
