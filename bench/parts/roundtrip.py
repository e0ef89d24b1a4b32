"""Round trips: submit a task of 200 bytes and await its answer, every system in turn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import peers
from bench.harness import plots
from bench.harness.options import Check, Options, interleaved, result_of, say
from bench.harness.process import available
from bench.harness.server import Server
from bench.harness.stats import medians, ratio, spread
from bench.harness.tables import millis, number, table
from bench.harness.trial import round_trips

SUMMARY = "round trips at 1, 64 and 512 in flight, beside the floor and all peers"
LEVELS = (1, 64, 512)

OURS = ("peakshaver", "peakshaver.ten", "peakshaver.limits")
NOT_PEERS = ("peakshaver", "bare", "floor")
# At their quickest settings. Left out for being slow at their defaults: saq, arq, taskiq.list,
# rq.spawn; they can be asked for by --systems.
PEERS = (
    "bullmq_node",
    "saq.push",
    "saq.fast",
    "huey",
    "fastapi_queue",
    "dramatiq",
    "dramatiq.fast",
    "taskiq.list_fast",
    "taskiq.stream_fast",
    "bullmq",
    "bullmq.w8",
    "arq.fast",
    "docket",
    "celery.threads",
    "celery.prefork",
    "streaq",
    "rq.simple",
    "rq.fork",
)
COST = "commands,script calls,µs of scripts,reads,bytes,CPU µs: submitter,worker,Redis,lost".split(
    ","
)
# Far behind in every figure that anything is compared with: one repeat is enough to show it.
SLOW = (
    "dramatiq",
    "taskiq.stream_fast",
    "saq.fast",
    "bullmq.w8",
    "arq.fast",
    "docket",
    "celery.threads",
    "celery.prefork",
    "streaq",
    "rq.simple",
    "rq.fork",
)
SYSTEMS = (*OURS, "bare", "floor", "floor.naive", *PEERS)


def systems_here(wanted: tuple[str, ...]) -> list[str]:
    """Those that are set up; says which are not."""
    missing = [name for name in wanted if not available(name)]
    if missing:
        say(f"left out: {', '.join(missing)}; set up by ./peak bench --peers")
    return [name for name in wanted if name not in missing]


def measure(options: Options) -> dict[str, Any]:
    """Medians over the repeats, and every repeat."""
    names = systems_here(options.systems or SYSTEMS)
    seconds = 0.5 if options.quick else options.seconds
    with Server(options.server) as server:

        def all_of_it() -> dict[str, Any]:
            runs = interleaved(
                names,
                options.repeats,
                lambda name, _: round_trips(name, server, LEVELS, seconds),
                once=SLOW,
            )
            rows = {name: medians(several) for name, several in runs.items()}
            return {
                "settings": settings(seconds),
                "peers": peers.versions(),
                "rows": rows,
                "runs": runs,
            }

        return result_of("roundtrip", options, server.name, all_of_it)


def settings(seconds: float) -> dict[str, Any]:
    """What was the same for all."""
    return {
        "payload_bytes": 200,
        "processes": "one submitter, one worker, one server; loopback",
        "seconds": seconds,
        "worker_concurrency": 128,
        "worker_threads": 8,
        "one_repeat": SLOW,
    }


def figure(rows: Mapping[str, Any], name: str, level: int, what: str) -> float | None:
    """One number of a table of rows, or None."""
    value: float | None = rows.get(name, {}).get(str(level), {}).get(what)
    return value


def best(rows: Mapping[str, Any], level: int, what: str = "rate") -> tuple[str, float] | None:
    """The best Python peer: most round trips, or the least of another figure."""
    found = [
        (value, name)
        for name in rows
        if name.partition(".")[0] not in (*NOT_PEERS, "bullmq_node")
        and (value := figure(rows, name, level, what)) is not None
    ]
    if not found:
        return None
    value, name = max(found) if what == "rate" else min(found)
    return name, value


def check(result: dict[str, Any]) -> list[Check]:
    """Ratios of one run."""
    rows = result["rows"]
    found: list[Check] = []
    for level, factor, node in ((64, 12.0, 6.0), (512, 20.0, 4.0)):
        ours = figure(rows, "peakshaver", level, "rate")
        peer = best(rows, level)
        found.append(
            Check(
                f"round trips at {level} / the best Python peer's ({peer[0] if peer else '-'})",
                factor,
                ratio(ours, peer[1]) if peer else None,
            )
        )
        theirs = figure(rows, "bullmq_node", level, "rate")
        found.append(Check(f"round trips at {level} / BullMQ on Node", node, ratio(ours, theirs)))
    p99 = figure(rows, "peakshaver", 64, "p99")
    found.append(Check("p99 at 64, ms", 10.0, p99 and p99 * 1000, at_most=True))
    return found + _alone(rows) + _redis(rows)


def _alone(rows: Mapping[str, Any]) -> list[Check]:
    """One in flight."""
    ours, floor = (figure(rows, name, 1, "p50") for name in ("peakshaver", "floor"))
    peers = [
        value
        for name in rows
        if name.partition(".")[0] not in NOT_PEERS
        and (value := figure(rows, name, 1, "p50")) is not None
    ]
    quickest = min(peers, default=None)
    return [
        Check("p50 at 1 / the floor's", 1.5, ratio(ours, floor), at_most=True),
        Check("p50 at 1 / the quickest peer's", 1.0, ratio(ours, quickest), at_most=True),
        Check(
            "script calls a task at 1",
            3.005,
            figure(rows, "peakshaver", 1, "script_calls"),
            at_most=True,
        ),
        Check(
            "µs of scripts a task at 1",
            90.0,
            figure(rows, "peakshaver", 1, "script_us"),
            at_most=True,
        ),
    ]


def _redis(rows: Mapping[str, Any]) -> list[Check]:
    """What Redis spends at 64 in flight."""
    found = [
        Check(
            f"µs of scripts a task at 64, {what}", most, figure(rows, name, 64, "script_us"), True
        )
        for name, what, most in (
            ("peakshaver", "one route", 20.0),
            ("peakshaver.ten", "ten routes", 20.0),
            ("peakshaver.limits", "limits and statistics on", 25.0),
        )
    ]
    ours, bare = (figure(rows, name, 64, "rate") for name in ("peakshaver", "bare"))
    found.append(Check("round trips at 64 / the same scripts, bare client", 0.6, ratio(ours, bare)))
    return found


def show(result: dict[str, Any]) -> str:
    """Two tables: speed, and what it costs."""
    rows = result["rows"]
    order = sorted(rows, key=lambda name: -(figure(rows, name, 64, "rate") or 0))
    speed = table(
        ("system", *(f"/s at {n}" for n in LEVELS), *(f"p50 / p99 ms at {n}" for n in LEVELS), "±"),
        [(name, *_speed(result, name)) for name in order],
    )
    what = ("commands", "script_calls", "script_us", "reads", "net_bytes")
    cpu = ("cpu_submitter_us", "cpu_worker_us", "cpu_redis_us")
    cost = table(
        ("at 64, per task", *COST),
        [
            (
                name,
                *(number(figure(rows, name, 64, one), 2) for one in what[:-1]),
                *(number(figure(rows, name, 64, one)) for one in (what[-1], *cpu)),
                _lost(result["runs"][name]),
            )
            for name in order
        ],
    )
    return f"{speed}\n{cost}"


def _speed(result: dict[str, Any], name: str) -> list[str]:
    rows, runs = result["rows"], result["runs"][name]
    rates = [number(figure(rows, name, level, "rate")) for level in LEVELS]
    times = [
        f"{millis(figure(rows, name, n, 'p50'))} / {millis(figure(rows, name, n, 'p99'))}"
        for n in LEVELS
    ]
    both = spread(run.get("64", {}).get("rate") for run in runs)
    middle = figure(rows, name, 64, "rate")
    wide = f"{(both[1] - both[0]) / 2 / middle:.0%}" if both and middle else "-"
    return [*rates, *times, wide]


def _lost(runs: list[dict[str, Any]]) -> str:
    """Calls that failed or hung, over all repeats; and what kept it from running."""
    failed = [run["failed"] for run in runs if "failed" in run]
    count = sum(
        row["errors"] + row["hung"] for run in runs for row in run.values() if isinstance(row, dict)
    )
    return f"{count} ({failed[0]})" if failed else str(count)


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Bars at 64 and 512 in flight, and the time of one alone."""
    rows, paths = result["rows"], []
    for level in (64, 512):
        rates = {name: figure(rows, name, level, "rate") for name in rows}
        title = f"Round trips a second, {level} in flight"
        paths += plots.bars(folder, f"roundtrip-{level}", title, rates, unit="a second")
    alone = {name: p50 and p50 * 1e6 for name in rows if (p50 := figure(rows, name, 1, "p50"))}
    title = "One in flight: median time of a round trip"
    return paths + plots.bars(folder, "roundtrip-1", title, alone, unit="µs")
