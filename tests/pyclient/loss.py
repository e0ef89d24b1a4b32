"""Measures what a fault of Redis costs: tasks lost, tasks run twice, time without service.

    python -m tests.pyclient.loss --topology sentinel --durability replicated:2 --fault kill

An open-loop load submits tasks, a worker serves them, and the fault comes in the middle. Every
task whose submission was acknowledged must then have an outcome; one that Redis does not know is
lost. It prints one JSON line a run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyclient import Queue
from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.errors import PeakError
from pyclient.shards import keys_of, shard_of
from tests.pyclient import redis_faults as faults
from worker_app import Context, Worker

NAME = "loss"
LIVE = (b"waiting", b"due", b"running")


@dataclass
class Report:
    """What a run has shown; `gap_s` is the longest time between two acknowledgements."""

    acked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    done: int = 0
    doubled: int = 0
    gap_s: float = 0.0
    longest_call_s: float = 0.0
    unsettled: int = 0


class Load:
    """Submits `rate` tasks a second until told to stop."""

    def __init__(self, queue: Queue, rate: float) -> None:
        self.queue = queue
        self.rate = rate
        self.acked: list[str] = []
        self.report = Report()
        self._last = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """For so long; returns when every submission has its answer."""
        begun = self._last = time.monotonic()
        count = 0
        while (now := time.monotonic()) - begun < seconds:
            while count < (now - begun) * self.rate:
                count += 1
                task = asyncio.create_task(self._one(count))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(0.005)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _one(self, number: int) -> None:
        begun = time.monotonic()
        try:
            ticket = await self.queue.submit("work", number, timeout=60, keep=600)
        except PeakError as error:
            code = getattr(error, "code", "") or type(error).__name__
            self.report.refused[code] += 1
        else:
            self.acked.append(ticket.id)
            now = time.monotonic()
            self.report.gap_s = max(self.report.gap_s, round(now - self._last, 2))
            self._last = now
        took = round(time.monotonic() - begun, 2)
        self.report.longest_call_s = max(self.report.longest_call_s, took)


async def measure(
    url: str,
    fault: Callable[[], None],
    *,
    seconds: float = 12.0,
    at: float = 3.0,
    rate: float = 200.0,
    name: str = NAME,
    shards: int = 1,
    configure: dict[str, Any] | None = None,
) -> Report:
    """One run: load for `seconds`, the fault (in a thread) after `at`."""
    ran: Counter[str] = Counter()
    worker = Worker(name, url=url, concurrency=32, shards=shards)

    @worker.route("work")
    async def work(payload: int, ctx: Context) -> int:
        ran[ctx.id] += 1
        await asyncio.sleep(0.005)
        return payload

    async with Queue.from_url(url, name=name, shards=shards) as queue:
        await queue.configure(lease=4.0, **(configure or {}))
        serving = asyncio.create_task(worker.run())
        load = Load(queue, rate)
        loading = asyncio.create_task(load.run(seconds))
        await asyncio.sleep(at)
        await asyncio.to_thread(fault)
        await loading
        report = load.report
        report.acked = len(load.acked)
        await _count(url, queue, load.acked, report)
        report.doubled = sum(1 for count in ran.values() if count > 1)
        worker.stop()
        await serving
    return report


async def _count(url: str, queue: Queue, ids: list[str], report: Report) -> None:
    """What has become of the acknowledged; those that still live get half a minute."""
    conn = Connection(url)
    give_up = time.monotonic() + 30
    left = ids
    while left and time.monotonic() < give_up:
        try:
            await conn.open()
            left = await _look(conn, queue, left, report)
        except PeakError:
            pass
        await asyncio.sleep(0.3)
    report.unsettled = len(left)
    await conn.aclose()


async def _look(conn: Connection, queue: Queue, ids: list[str], report: Report) -> list[str]:
    """Those of `ids` that still live; the others are counted. Raises Unavailable before that."""
    all_keys = keys_of("peak", queue.name, queue.shards)
    said: list[tuple[str, bytes]] = []
    for shard, keys in enumerate(all_keys):
        here = [one for one in ids if shard_of(one, queue.shards) == shard]
        commands = Commands(conn, scripts(), keys)
        for start in range(0, len(here), 64):
            some = here[start : start + 64]
            said += zip(some, await commands.fetch("state", some), strict=True)
    words = [(one, value.partition(b"\n")[0]) for one, value in said]
    report.lost += sum(word == b"gone" for _, word in words)
    report.done += sum(word == b"done" for _, word in words)
    return [one for one, word in words if word in LIVE]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", choices=sorted(faults.TOPOLOGIES), default="sentinel")
    parser.add_argument("--durability", default="", help="nothing demanded where it is empty")
    parser.add_argument("--fault", choices=sorted(faults.FAULTS), default="kill")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="name=value")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING if args.verbose else logging.CRITICAL)
    settings = dict(one.split("=", 1) for one in args.set)
    for _ in range(args.runs):
        with faults.TOPOLOGIES[args.topology](args.durability, **settings) as servers:
            option = f"?durability={args.durability}" if args.durability else ""
            fault = faults.FAULTS[args.fault]
            report = asyncio.run(
                measure(
                    servers.url + option,
                    lambda fault=fault, servers=servers: fault(servers),  # type: ignore[misc]
                    seconds=args.seconds,
                    rate=args.rate,
                )
            )
        what = {"topology": args.topology, "durability": args.durability, "fault": args.fault}
        print(json.dumps({**what, **vars(report)}), flush=True)


if __name__ == "__main__":
    main()
