"""Enqueue without a worker, memory of what waits, drain with one worker, and a worker at rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.harness import plots
from bench.harness.options import Check, Options, interleaved, result_of
from bench.harness.server import Server
from bench.harness.stats import medians, ratio
from bench.harness.tables import number, table
from bench.harness.trial import backlog, idle

from .roundtrip import PEERS, SLOW, systems_here

SUMMARY = "enqueue-only, drain of 20,000, bytes of a waiting task, idle commands a second"
SYSTEMS = ("peakshaver", "bare", "floor", *PEERS)
# Have no priorities or no redelivery of what a dead worker held: their bytes are no measure.
LESS = ("bare", "floor", "huey", "fastapi_queue", "taskiq", "celery", "rq", "saq", "streaq")
COLUMNS = (
    ("enqueue a second", "enqueue_per_s", 0),
    ("drain a second", "drain_per_s", 0),
    ("bytes a task", "bytes_per_task", 0),
    ("commands an enqueue", "enqueue_commands", 1),
    ("idle commands a second", "idle_commands_per_s", 2),
    ("idle CPU %", "idle_percent", 1),
)


def measure(options: Options) -> dict[str, Any]:
    """Backlogs in every repeat; a worker at rest once, for it is steady."""
    names = systems_here(options.systems or SYSTEMS)
    tasks = options.amount(20_000, 5_000)
    drain_s, idle_s = options.amount(12, 4), options.amount(10, 2)
    with Server(options.server) as server:

        def one(name: str, repeat: int) -> dict[str, Any]:
            figures = backlog(name, server, tasks, drain_s)
            if repeat == 0 and name != "bare":
                rest = idle(name, server, idle_s)
                figures |= rest | {"idle_percent": rest["idle_cpu"] * 100}
            return figures

        def all_of_it() -> dict[str, Any]:
            runs = interleaved(names, options.repeats, one, once=SLOW)
            return {
                "settings": {"tasks": tasks, "payload_bytes": 200, "drain_s": drain_s},
                "rows": {name: medians(several) for name, several in runs.items()},
                "runs": runs,
            }

        return result_of("queue", options, server.name, all_of_it)


def check(result: dict[str, Any]) -> list[Check]:
    """Ratios of one run; bytes by server."""
    rows: Mapping[str, Any] = result["rows"]
    ours, node = rows.get("peakshaver", {}), rows.get("bullmq_node", {})

    def beside(what: str) -> float | None:
        return ratio(ours.get(what), node.get(what))

    most = 420.0 if "Valkey" in result["server"] else 480.0
    peers = [
        row["bytes_per_task"]
        for name, row in rows.items()
        if name.partition(".")[0] not in ("peakshaver", *LESS) and row.get("bytes_per_task")
    ]
    least = min(peers, default=None)
    return [
        Check("enqueue / BullMQ's addBulk on Node", 2.5, beside("enqueue_per_s")),
        Check("drain / BullMQ on Node", 1.5, beside("drain_per_s")),
        Check("idle commands a second", 1.0, ours.get("idle_commands_per_s"), at_most=True),
        Check(f"bytes a task, {result['server']}", most, ours.get("bytes_per_task"), at_most=True),
        Check(
            "bytes a task / least of the peers with priorities and redelivery",
            1.0,
            ratio(ours.get("bytes_per_task"), least),
            at_most=True,
        ),
    ]


def show(result: dict[str, Any]) -> str:
    """One table."""
    rows = result["rows"]
    order = sorted(rows, key=lambda name: -(rows[name].get("enqueue_per_s") or 0))
    body = [
        (
            name,
            *(number(rows[name].get(key), digits) for _, key, digits in COLUMNS),
            rows[name].get("failed", ""),
        )
        for name in order
    ]
    return table(("system", *(head for head, _, _ in COLUMNS), ""), body)


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Bars: enqueue, drain, bytes."""
    rows, paths = result["rows"], []
    for key, title, unit in (
        ("enqueue_per_s", "Enqueue only, no worker", "a second"),
        ("drain_per_s", "Drain of a backlog, one worker", "a second"),
        ("bytes_per_task", "Memory of a waiting task of 200 bytes", "bytes"),
    ):
        values = {name: row.get(key) for name, row in rows.items()}
        paths += plots.bars(folder, f"queue-{key.split('_')[0]}", title, values, unit=unit)
    return paths
