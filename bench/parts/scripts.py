"""The time of each script as Redis itself counts it, with 10³ and with 10⁶ tasks waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.harness.machine import steal
from bench.harness.options import Check, Options, result_of, say
from bench.harness.scripted import BATCH, Scripted, figures_of
from bench.harness.server import Server
from bench.harness.stats import ratio
from bench.harness.tables import number, table

SUMMARY = "time of each script by Redis's own count, 10³ and 10⁶ waiting in turn"
PERIOD_US, CALL_US = 1_000_000, 5000
PLACE = "p" * 22
# How many tasks a call of the rounds below carries.
TASKS = dict.fromkeys(("admit", "claim", "publish", "renew", "retry", "cancel", "fetch"), BATCH)


def measure(options: Options) -> dict[str, Any]:
    """Both queues on one server, a round of each in turn, so that company hits both alike."""
    sizes = (1000, options.amount(1_000_000, 20_000))
    rounds = options.amount(400, 25)
    with Server(options.server, unix=True) as server:

        def all_of_it() -> dict[str, Any]:
            queues = {size: Scripted(server, f"scripts-{size}") for size in sizes}
            for size, queue in queues.items():
                queue.admit(size)
                say(f"{size:,} waiting")
            stolen, found = steal(), _interleave(queues, rounds)
            for queue in queues.values():
                queue.close()
            return {
                "settings": {"sizes": sizes, "rounds": rounds, "batch": BATCH},
                "steal_in_rounds_s": round(steal() - stolen, 3),
                "rows": found,
            }

        return result_of("scripts", options, server.name, all_of_it)


def _interleave(queues: dict[int, Scripted], rounds: int) -> dict[str, Any]:
    """By script, and by size, the figures of all its calls."""
    taken: dict[str, dict[str, list[int]]] = {}
    for queue in queues.values():
        _round(queue)  # warm
        queue.log_times()
    for _ in range(rounds):
        for size, queue in queues.items():
            _round(queue)
            for name, micros in queue.times().items():
                taken.setdefault(name, {}).setdefault(str(size), []).extend(micros)
    return {
        name: {size: figures_of(micros, TASKS.get(name, 1)) for size, micros in sorted(by.items())}
        for name, by in sorted(taken.items())
    }


def _round(queue: Scripted) -> None:
    """Every script that serves load; as many wait after it as before."""
    queue.admit(2 * BATCH)
    first, second = queue.claim(), queue.claim()
    queue.renew(first)
    queue.retry(first)
    queue.publish(queue.publish(second, BATCH))
    leaving = queue.admit(BATCH)
    queue.call("fetch", "state", *leaving)
    queue.call("fetch", "position", *leaving)
    queue.cancel(leaving)
    queue.numbered("place", "pull", "take", PLACE, "route-name-0", 3)
    queue.numbered("place", "pull", "leave", PLACE, "route-name-0", 3)
    queue.call("limit", "bucket", 1000, PERIOD_US, 1000, 1)
    queue.call("gauge")
    queue.call("sweep")
    queue.attach()


def check(result: dict[str, Any]) -> list[Check]:
    """Growth from the small queue to the large one, and the longest call."""
    small, large = (str(size) for size in result["settings"]["sizes"])
    found: list[Check] = []
    for what, word in (("median_us", "median"), ("p99_us", "p99")):
        worst, at = 0.0, "-"
        for name, by in result["rows"].items():
            grown = ratio(by.get(large, {}).get(what), by.get(small, {}).get(what))
            if grown is not None and grown > worst:
                worst, at = grown, name
        claim = f"{word} per task, {int(large):,} waiting / {int(small):,}: the worst ({at})"
        found.append(Check(claim, 1.5, worst or None, at_most=True))
    longest = max(
        (figures["longest_us"] or 0) for by in result["rows"].values() for figures in by.values()
    )
    stolen = result["steal_in_rounds_s"]
    claim = f"longest call, µs (stolen in the rounds: {stolen:g} s)"
    return [*found, Check(claim, CALL_US, longest, at_most=True)]


def show(result: dict[str, Any]) -> str:
    """One line a script."""
    sizes = [str(size) for size in result["settings"]["sizes"]]
    rows = []
    for name, by in result["rows"].items():
        cells: list[str] = []
        for size in sizes:
            one = by.get(size, {})
            cells += (number(one.get(key), 2) for key in ("median_us", "p99_us"))
            cells.append(number(one.get("longest_us")))
        medians = [by.get(size, {}).get("median_us") for size in sizes]
        rows.append((name, TASKS.get(name, 1), *cells, number(ratio(medians[1], medians[0]), 2)))
    head = [
        f"{what}, {int(size):,}"
        for size in sizes
        for what in ("median µs a task", "p99 µs a task", "longest call µs")
    ]
    return table(("script", "tasks a call", *head, "grown"), rows)


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Nothing: the table says it."""
    return []
