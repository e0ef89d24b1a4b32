"""More than one core: how round trips and requests grow with processes, and with shards."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.harness import plots
from bench.harness.cluster import Cluster
from bench.harness.contract import Tick
from bench.harness.machine import load, steal
from bench.harness.options import Check, Options, interleaved, result_of
from bench.harness.process import Process, command_of
from bench.harness.server import Server
from bench.harness.stats import medians
from bench.harness.tables import millis, number, table
from bench.harness.trial import ANY, open_log

from .http import through

SUMMARY = "1, 2 and 4 processes of submitters and workers, of gateways and workers; shards"
COUNTS, SHARDS, NODES = (1, 2, 4), (1, 2, 3), 3
IN_FLIGHT, CONNECTIONS = 256, 64
SYSTEM = "peakshaver"


def measure(options: Options) -> dict[str, Any]:
    """Every size in each repeat."""
    seconds = 0.7 if options.quick else options.seconds
    sizes = {f"{n} submitters, {n} workers": n for n in COUNTS}
    shards = {f"2 submitters, 2 workers, {n} shards of {NODES} nodes": n for n in SHARDS}
    doors = {
        f"{mode}, {n} gateways" + (f", {n} workers" if mode == "worker" else ""): (mode, n)
        for mode in ("hold", "worker")
        for n in COUNTS
    }
    with Server(options.server) as server, Cluster(options.server, NODES) as cluster:

        def one(name: str, repeat: int) -> dict[str, Any]:
            if name in sizes:
                return several(server, sizes[name], seconds)
            if name in shards:
                split = {"BENCH_URL": cluster.url, "BENCH_SHARDS": str(shards[name])}
                return several(cluster, 2, seconds, **split)
            mode, n = doors[name]
            given = {"gateways": n, "workers": n, "worker_concurrency": 64 // n}
            found = through(mode, server, (CONNECTIONS,), max(1, round(seconds * 2)), **given)
            phase: dict[str, Any] = found.pop(str(CONNECTIONS), {})
            return phase | found

        def all_of_it() -> dict[str, Any]:
            runs = interleaved([*sizes, *shards, *doors], options.repeats, one)
            return {
                "settings": {"in_flight": IN_FLIGHT, "connections": CONNECTIONS},
                "rows": {name: medians(each) for name, each in runs.items()},
                "runs": runs,
            }

        return result_of("scale", options, server.name, all_of_it)


def several(server: Server | Cluster, count: int, seconds: float, **given: str) -> dict[str, Any]:
    """Round trips of so many submitters and workers at once, 256 in flight over all of them."""
    server.ask("FLUSHALL")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peak-bench-")))
        Tick.create(folder / "tick")
        log = stack.enter_context(open_log(f"scale-{count}"))
        env = {"BENCH_TICK": str(folder / "tick"), "BENCH_PORT": str(server.port)}
        env |= given
        roles: dict[str, list[Process]] = {"submit": [], "worker": []}
        for role, processes in roles.items():
            for _ in range(count):
                process = Process(command_of(role, SYSTEM), env, log, talks=role == "submit")
                stack.callback(process.stop)
                processes.append(process)
        pool = stack.enter_context(ThreadPoolExecutor(count))
        return _phase(server, roles, pool, seconds)


def _phase(
    server: Server | Cluster,
    roles: dict[str, list[Process]],
    pool: ThreadPoolExecutor,
    seconds: float,
) -> dict[str, Any]:
    """All submitters at once; rates add up."""
    submitters = roles["submit"]
    each = IN_FLIGHT // len(submitters)

    def ask(**command: Any) -> list[dict[str, Any]]:
        return list(pool.map(lambda one: one.ask(60, concurrency=each, **command), submitters))

    ask(op="open")
    time.sleep(1.0)
    ask(op="trip", most=ANY, seconds=0.5)
    before, stolen = server.counters(), steal()
    spent = {role: sum(one.cpu() for one in some) for role, some in roles.items()}
    figures = ask(op="trip", most=ANY, seconds=seconds)
    done = max(1, sum(one["done"] for one in figures))
    cost = server.counters().since(before, done)
    cpu = {
        role: (sum(one.cpu() for one in some) - spent[role]) * 1e6 / done
        for role, some in roles.items()
    }
    return {
        "rate": sum(one["rate"] for one in figures),
        "p50": sum(one["p50"] or 0 for one in figures) / len(figures),
        "p99": max(one["p99"] or 0 for one in figures),
        "errors": sum(one["errors"] + one["hung"] for one in figures),
        "script_us": cost["script_us"],
        "cpu_us": {**cpu, "redis": cost["cpu_redis_us"]},
        "load": load(),
        "steal_s": steal() - stolen,
    }


def check(result: dict[str, Any]) -> list[Check]:
    """Nothing is promised of two cores; the page docs/explanation/scaling.md reads these."""
    return []


def show(result: dict[str, Any]) -> str:
    """One line a size."""
    rows = []
    for name, row in result["rows"].items():
        cpu = row.get("cpu_us", {})
        rows.append(
            (
                name,
                number(row.get("rate")),
                millis(row.get("p50")),
                millis(row.get("p99")),
                number(row.get("script_us"), 1),
                ", ".join(f"{role} {number(value)}" for role, value in cpu.items()),
                row.get("failed", ""),
            )
        )
    head = ("processes", "a second", "p50 ms", "p99 ms", "µs of scripts", "CPU µs each", "")
    return table(head, rows)


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """A line each over the number of processes."""
    series: dict[str, list[tuple[float, float]]] = {}
    for name, row in result["rows"].items():
        kind = "hold" if name.startswith("hold") else name.partition(",")[0]
        digits = [word for word in name.replace(",", "").split() if word.isdigit()]
        if "shards" in name:
            kind, digits = "round trips, by shards", digits[2:]
        elif "submitters" in name:
            kind = "round trips"
        if row.get("rate") is not None:
            series.setdefault(kind, []).append((float(digits[0]), row["rate"]))
    title = "On this machine, by processes of each kind"
    return plots.lines(
        folder, "scale", title, series, x="processes, or shards", y="a second", log_x=False
    )
