"""Where the microseconds go: the inner commands of each script, and Python layer by layer."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.harness.options import Check, Options, result_of, say
from bench.harness.scripted import BATCH, Scripted
from bench.harness.server import Server
from bench.harness.tables import number, table
from bench.harness.trial import ANY, OPEN_S, TRIP_S, trial

SUMMARY = "where the µs go: inner commands of each script, Python by layer (py-spy)"
SAMPLES_A_S = 400
LINE = re.compile(r":\d+\)$")
# The first that is part of a frame's file names its layer.
LAYERS = (
    ("pyclient/link", "connection: packing, parsing, writing"),
    ("pyclient/connection", "connection: packing, parsing, writing"),
    ("pyclient/blocking", "connection: packing, parsing, writing"),
    ("pyclient/commands", "commands: arguments and replies"),
    ("pyclient/inbox", "inbox"),
    ("pyclient/codec", "codec"),
    ("pyclient/", "queue and line"),
    ("worker_app/desk", "worker: handlers"),
    ("worker_app/", "worker: loop"),
    ("bench/", "the benchmark itself"),
    ("asyncio/", "event loop"),
    ("uvloop", "event loop"),
)
OTHER = "interpreter and libraries"


def measure(options: Options) -> dict[str, Any]:
    """Scripts at batches of one and of 64, then submitter and worker with 64 in flight."""
    calls = options.amount(200, 20)
    with Server(options.server) as server:

        def all_of_it() -> dict[str, Any]:
            return {
                "settings": {"calls": calls, "in_flight": 64},
                "scripts": {str(size): inner(server, size, calls) for size in (1, BATCH)},
                "python": layers(server, options.amount(8, 2)),
            }

        return result_of("profile", options, server.name, all_of_it)


def inner(server: Server, batch: int, calls: int) -> dict[str, Any]:
    """By script, per call: µs, and the commands it calls with their number and µs."""
    server.ask("FLUSHALL")
    queue = Scripted(server, "profile")
    queue.admit(1000)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    numbers: dict[str, Counter[str]] = defaultdict(Counter)

    def watched(name: str, work: Callable[[], Any]) -> Any:
        before = server.counters()
        result = work()
        after = server.counters()
        for command, count in after.calls.items():
            more = count - before.calls.get(command, 0)
            if more:
                numbers[name][command] += more
                found[name][command] += round(
                    (after.micros[command] - before.micros.get(command, 0.0)) * 1000
                )
        return result

    for _ in range(calls):
        watched("admit", partial(queue.admit, batch))
        leases = watched("claim", partial(queue.claim, batch))
        following = watched("publish, and the next", partial(queue.publish, leases, batch))
        queue.publish(following)
        queue.admit(batch)
        queue.attach()
    queue.close()
    return {name: _row(found[name], numbers[name], calls) for name in found}


def _row(nanos: Counter[str], numbers: Counter[str], calls: int) -> dict[str, Any]:
    total = nanos.pop("evalsha") / 1000 / calls
    within = {
        name: {"calls": round(numbers[name] / calls, 2), "us": round(value / 1000 / calls, 2)}
        for name, value in nanos.most_common()
    }
    commands_us = sum(one["us"] for one in within.values())
    return {
        "us": round(total, 1),
        "commands": round(sum(one["calls"] for one in within.values()), 1),
        "commands_us": round(commands_us, 1),
        "lua_us": round(total - commands_us, 1),
        "by_name": within,
    }


# -- Python -------------------------------------------------------------------------------------


def spy() -> str | None:
    """py-spy, where it is installed."""
    return shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))


def layers(server: Server, seconds: int) -> dict[str, Any]:
    """Shares of busy samples by layer, and the functions with most of their own."""
    program = spy()
    if program is None:
        say("no profile of Python: py-spy is not installed (pip install 'peakshaver[bench]')")
        return {}
    found: dict[str, Any] = {}
    with trial("peakshaver", server) as one:
        submitter, worker = one.start("submit"), one.start("worker")
        submitter.ask(OPEN_S, op="open", concurrency=64)
        submitter.ask(TRIP_S, op="trip", concurrency=64, most=ANY, seconds=0.5)
        for role, process in (("submitter", submitter), ("worker", worker)):
            load = threading.Thread(
                target=submitter.ask,
                args=(TRIP_S,),
                kwargs={"op": "trip", "concurrency": 64, "most": ANY, "seconds": seconds + 1.0},
            )
            load.start()
            stacks = sample(program, process.pid, seconds)
            load.join()
            found[role] = summary(stacks)
    return found


def sample(program: str, pid: int, seconds: int) -> list[tuple[list[str], int]]:
    """Stacks with their counts, of threads that hold the interpreter: waits don't count."""
    with tempfile.NamedTemporaryFile(prefix="peak-bench-") as file:
        command = [program, "record", "--gil", "--format", "raw", "--output", file.name]
        command += ["--rate", str(SAMPLES_A_S), "--duration", str(seconds), "--pid", str(pid)]
        subprocess.run(command, capture_output=True, timeout=seconds + 30)
        return read_stacks(Path(file.name).read_text())


def read_stacks(text: str) -> list[tuple[list[str], int]]:
    """Lines `frame;frame;frame count`, the outermost first."""
    stacks: list[tuple[list[str], int]] = []
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit() and "threading.py" not in frames:
            stacks.append(([LINE.sub(")", frame) for frame in frames.split(";")], int(count)))
    return stacks


def summary(stacks: list[tuple[list[str], int]]) -> dict[str, Any]:
    """Percent by layer of the innermost frame, and the 12 functions with most samples of their
    own. What C code of a library takes counts for the frame that called it."""
    by_layer: Counter[str] = Counter()
    own: Counter[str] = Counter()
    for frames, count in stacks:
        by_layer[layer_of(frames[-1])] += count
        own[frames[-1]] += count
    total = max(1, sum(by_layer.values()))
    return {
        "samples": total,
        "layers": {name: round(100 * n / total, 1) for name, n in by_layer.most_common()},
        "functions": {name: round(100 * n / total, 1) for name, n in own.most_common(12)},
    }


def layer_of(frame: str) -> str:
    """The layer of a frame `function (file)`."""
    file = frame.rpartition("(")[2]
    return next((layer for part, layer in LAYERS if part in file), OTHER)


def check(result: dict[str, Any]) -> list[Check]:
    """A batch of one: all calls of a round trip together."""
    alone = result["scripts"]["1"]
    calls = (alone["admit"], alone["claim"], alone["publish, and the next"])
    total = sum(one["us"] for one in calls)
    return [Check("µs of Redis for the calls of one task alone", 90.0, total, at_most=True)]


def show(result: dict[str, Any]) -> str:
    """Scripts, then Python."""
    rows = [
        (
            f"{name}, {size} a call",
            number(row["us"], 1),
            number(row["lua_us"], 1),
            number(row["commands_us"], 1),
            number(row["commands"], 1),
            ", ".join(f"{cmd} {one['calls']:g}× {one['us']:g}" for cmd, one in _most(row)),
        )
        for size, scripts in result["scripts"].items()
        for name, row in scripts.items()
    ]
    head = ("script", "µs a call", "of it Lua", "of it commands", "commands", "commands, × and µs")
    parts = [table(head, rows)]
    for role, row in result["python"].items():
        parts.append(table((f"{role}: layer", "%"), row["layers"].items()))
        parts.append(table((f"{role}: function", "% of its own"), row["functions"].items()))
    return "\n".join(parts)


def _most(row: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return list(row["by_name"].items())[:8]


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Nothing: the tables say it."""
    return []
