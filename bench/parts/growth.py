"""What a script call costs as the backlog, the lanes and the full routes grow."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.harness import plots
from bench.harness.options import Check, Options, result_of, say
from bench.harness.scripted import BATCH, Scripted, figures_of
from bench.harness.server import Server
from bench.harness.stats import ratio
from bench.harness.tables import number, table

SUMMARY = "admit, claim and publish at 10² … 10⁶ waiting, lanes and full routes; memory; sweep"
VERBS = ("admit", "claim", "publish")
AXES = {
    "waiting": "tasks waiting",
    "lanes": "lanes with tasks",
    "full_routes": "routes that are full, each with a task waiting",
}
LEVEL_OF_FULL, LEVEL_OF_PLAIN = 2, 3


def measure(options: Options) -> dict[str, Any]:
    """A fresh queue for each axis."""
    most = options.amount(6, 4)
    rounds = options.amount(300, 30)
    with Server(options.server, unix=True) as server:

        def all_of_it() -> dict[str, Any]:
            few = min(most, 4) if not options.quick else 3
            rows = {
                "waiting": waiting(server, [10**n for n in range(2, most + 1)], rounds),
                "lanes": lanes(server, [10**n for n in range(few + 1)], rounds),
                "full_routes": full_routes(server, [10**n for n in range(1, few + 1)], rounds),
            }
            late = options.amount(100_000, 5_000)
            return {
                "settings": {"rounds": rounds, "batch": BATCH},
                "rows": rows,
                "memory": memory(server, [10**n for n in range(2, most + 1)]),
                "sweep": sweep(server, late),
            }

        return result_of("growth", options, server.name, all_of_it)


def _rounds(
    queue: Scripted, rounds: int, routes: Iterable[str] = ("route-name-0",)
) -> dict[str, Any]:
    """µs per task of each verb; as many wait after a round as before it."""
    names = list(routes)
    queue.log_times()
    for number_of in range(rounds):
        turn = number_of * BATCH % len(names)
        queue.admit(BATCH, routes=[*names[turn:], *names[:turn]][: max(BATCH, 1)])
        queue.publish(queue.claim())
        if number_of % 16 == 0:
            queue.attach()
    times = queue.times()
    return {verb: figures_of(times.get(verb, []), BATCH) for verb in VERBS}


def waiting(server: Server, sizes: list[int], rounds: int) -> dict[str, Any]:
    """One route, one lane."""
    server.ask("FLUSHALL")
    queue, there, found = Scripted(server, "waiting"), 0, {}
    for size in sizes:
        queue.admit(size - there)
        there = size
        found[str(size)] = _rounds(queue, rounds)
        say(f"{size:,} waiting")
    queue.close()
    return found


def lanes(server: Server, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Routes with a concurrency have a lane each. The same 20,000 tasks, or two a lane."""
    found = {}
    for size in sizes:
        server.ask("FLUSHALL")
        queue = Scripted(server, "lanes")
        routes = [f"route-{number:06}" for number in range(size)]
        queue.configure(*((f"concurrency {route}", 1_000_000) for route in routes))
        queue.admit(max(2 * size, 2000), routes=routes)
        found[str(size)] = _rounds(queue, rounds, routes)
        queue.close()
        say(f"{size:,} lanes")
    return found


def full_routes(server: Server, sizes: list[int], rounds: int) -> dict[str, Any]:
    """So many routes of a better level run all they may and have one more waiting each; what is
    measured is a plain route behind them."""
    found = {}
    for size in sizes:
        server.ask("FLUSHALL")
        queue = Scripted(server, "full")
        routes = [f"route-{number:06}" for number in range(size)]
        queue.configure(*((f"concurrency {route}", 1) for route in routes))
        queue.admit(2 * size, routes=routes, level=LEVEL_OF_FULL)
        while queue.claim():
            pass
        queue.admit(1000, level=LEVEL_OF_PLAIN)
        found[str(size)] = _rounds(queue, rounds)
        queue.close()
        say(f"{size:,} full routes")
    return found


def memory(server: Server, sizes: list[int]) -> dict[str, float]:
    """Bytes per waiting task of 200 bytes, a route name of 12 characters."""
    server.ask("FLUSHALL")
    queue, there, found = Scripted(server, "memory"), 0, {}
    queue.log_nothing()
    queue.admit(BATCH)
    queue.publish(queue.claim())
    queue.attach()
    time.sleep(0.3)
    empty = server.used_bytes()
    for size in sizes:
        queue.admit(size - there)
        there = size
        time.sleep(0.3)
        found[str(size)] = round((server.used_bytes() - empty) / size, 1)
    queue.close()
    return found


def sweep(server: Server, count: int) -> dict[str, Any]:
    """So many tasks whose time to wait is over, and sweeps until none is left."""
    server.ask("FLUSHALL")
    queue = Scripted(server, "sweep")
    queue.admit(count, wait_ms=1)
    time.sleep(0.3)
    queue.log_times()
    began, calls = time.monotonic(), 0
    while _waiting(queue):
        queue.call("sweep")
        calls += 1
        if calls > count:
            raise RuntimeError("sweep does not get to the end of what is late")
    took = time.monotonic() - began
    times = queue.times()["sweep"]
    queue.close()
    return {
        "late": count,
        "calls": calls,
        "seconds": round(took, 3),
        "redis_s": round(sum(times) / 1e6, 3),
        "us_a_task": round(sum(times) / count, 2),
        "longest_us": max(times),
    }


def _waiting(queue: Scripted) -> int:
    pairs = queue.call("gauge")[1]
    found: int = dict(zip(pairs[::2], pairs[1::2], strict=True))[b"waiting"]
    return found


def check(result: dict[str, Any]) -> list[Check]:
    """The largest against the smallest of each axis."""
    found: list[Check] = []
    for axis, words in AXES.items():
        by = result["rows"][axis]
        # A batch of 64 touches 64 lanes where there are so many: that is no growth.
        first = next(size for size in by if axis != "lanes" or int(size) >= BATCH)
        last = list(by)[-1]
        for verb in VERBS:
            grown = ratio(by[last][verb]["median_us"], by[first][verb]["median_us"])
            claim = f"{verb}: {int(last):,} {words} / {int(first):,}"
            found.append(Check(claim, 1.5, grown, at_most=True))
    valkey = "Valkey" in result["server"]
    size = list(result["memory"])[-1]
    bytes_each = result["memory"][size]
    found.append(
        Check(f"bytes a task at {int(size):,}", 420 if valkey else 480, bytes_each, at_most=True)
    )
    return found


def show(result: dict[str, Any]) -> str:
    """A table an axis, then memory and the sweep."""
    parts: list[str] = []
    for axis, words in AXES.items():
        rows = [
            (
                f"{int(size):,}",
                *(number(by[verb][what], 2) for verb in VERBS for what in ("median_us", "p99_us")),
            )
            for size, by in result["rows"][axis].items()
        ]
        head = [f"{verb} {what}" for verb in VERBS for what in ("µs a task", "p99")]
        parts.append(table((words, *head), rows))
    bytes_each = [(f"{int(size):,}", number(value)) for size, value in result["memory"].items()]
    parts.append(table(("tasks waiting", "bytes a task"), bytes_each))
    late = result["sweep"]
    parts.append(
        f"A sweep of {late['late']:,} late tasks: {late['calls']:,} calls, {late['redis_s']:g} s "
        f"of Redis, {late['us_a_task']:g} µs a task, the longest call {late['longest_us']:,} µs.\n"
    )
    return "\n".join(parts)


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """A plot an axis, and memory."""
    paths: list[Path] = []
    for axis, words in AXES.items():
        by = result["rows"][axis]
        series = {
            verb: [(float(size), each[verb]["median_us"]) for size, each in by.items()]
            for verb in VERBS
        }
        name = f"growth-{axis.replace('_', '-')}"
        title = f"Redis time per task against {words}"
        paths += plots.lines(folder, name, title, series, x=words, y="µs a task, batches of 64")
    points = [(float(size), value) for size, value in result["memory"].items()]
    title = "Memory of a waiting task of 200 bytes"
    paths += plots.lines(
        folder, "growth-memory", title, {"bytes": points}, x="tasks waiting", y="bytes a task"
    )
    return paths
