"""What the machine allows: Redis, our scripts over ever leaner clients, redis-py as it comes."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.harness.bare import Bare
from bench.harness.options import Check, Options, interleaved, result_of, say
from bench.harness.process import ROOT
from bench.harness.server import Server
from bench.harness.stats import medians, quantile, ratio
from bench.harness.tables import millis, number, table
from bench.harness.trial import round_trips
from pyclient.commands import scripts
from pyclient.keys import Keys

SUMMARY = "what Redis, the scripts and redis-py allow: C client, hiredis, plain GETs"
LEVELS = (1, 64, 512)
IN_C = "our scripts, a client in C"
LINES = {
    "peakshaver": "peakshaver, client and worker",
    "bare": "our scripts, bare hiredis client and worker",
}
VALUE = "bench:value"
Ask = Callable[[], Awaitable[Any]]


def measure(options: Options) -> dict[str, Any]:
    """Every row in each repeat."""
    seconds = 0.5 if options.quick else options.seconds
    with compiled() as program, Server(options.server) as server:
        rows: dict[str, Callable[[], dict[str, Any]]] = {
            label: lambda name=name: round_trips(name, server, LEVELS, seconds)  # type: ignore[misc]
            for name, label in LINES.items()
        }
        if program is not None:
            rows[IN_C] = lambda: in_c(program, server, seconds)
        rows |= redis_rows(server, seconds)

        def all_of_it() -> dict[str, Any]:
            runs = interleaved(list(rows), options.repeats, lambda name, _: rows[name]())
            found = {name: medians(several) for name, several in runs.items()}
            return {"settings": {"seconds": seconds}, "rows": found, "runs": runs}

        return result_of("ceiling", options, server.name, all_of_it)


@contextmanager
def compiled() -> Iterator[Path | None]:
    """The client in C; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        say("no C compiler: the client in C is left out")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="peak-bench-") as folder:
        program, source = Path(folder) / "line", ROOT / "bench" / "native" / "line.c"
        command = [compiler, "-O2", "-std=c11", "-D_GNU_SOURCE", "-o", str(program), str(source)]
        subprocess.run(command, check=True, timeout=120)
        yield program


def in_c(program: Path, server: Server, seconds: float) -> dict[str, Any]:
    """Round trips by number in flight; submitter and worker are one process."""
    server.ask("FLUSHALL")
    names = ("admit", "attach", "claim", "publish")
    shas = [server.ask("SCRIPT", "LOAD", scripts()[name].text).decode() for name in names]
    base = Keys("peak", "native").base.decode()
    found: dict[str, Any] = {}
    for level in LEVELS:
        before = server.counters()
        command = [str(program), str(server.port), base, str(level), str(seconds), *shas]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
        if done.returncode:
            return {"failed": done.stderr.strip()}
        figures = json.loads(done.stdout)
        found[str(level)] = figures | server.counters().since(before, figures["done"])
    return found


def redis_rows(server: Server, seconds: float) -> dict[str, Callable[[], dict[str, Any]]]:
    """Single commands over the clients that Python has; the keys are numbers in flight."""

    def row(work: Callable[[str, int, float], Coroutine[Any, Any, dict[str, Any]]]) -> Any:
        def run() -> dict[str, Any]:
            server.ask("SET", VALUE, "x" * 200)
            return {str(level): fast(work(server.url, level, seconds)) for level in LEVELS}

        return run

    return {
        "redis-py GET, a pool": row(over_a_pool),
        "redis-py GET, pipelines": row(in_pipelines),
        "bare hiredis GET, one connection": row(over_hiredis),
    }


async def over_a_pool(url: str, in_flight: int, seconds: float) -> dict[str, Any]:
    """redis-py as it comes: a connection for each call in flight."""
    import redis.asyncio as redis

    client: Any = redis.Redis.from_url(url, max_connections=600)
    try:
        return await timed(lambda: client.get(VALUE), in_flight, seconds)
    finally:
        await client.aclose()


async def in_pipelines(url: str, in_flight: int, seconds: float) -> dict[str, Any]:
    """redis-py, so many calls a pipeline."""
    import redis.asyncio as redis

    client: Any = redis.Redis.from_url(url)

    async def some() -> None:
        pipe = client.pipeline(transaction=False)
        for _ in range(in_flight):
            pipe.get(VALUE)
        await pipe.execute()

    try:
        return await timed(some, 1, seconds, each=in_flight)
    finally:
        await client.aclose()


async def over_hiredis(url: str, in_flight: int, seconds: float) -> dict[str, Any]:
    """One connection, writes joined."""
    link = await Bare.open(urlsplit(url).port or 6379)
    try:
        return await timed(lambda: link.call(b"GET", VALUE), in_flight, seconds)
    finally:
        link.close()


async def timed(ask: Ask, in_flight: int, seconds: float, *, each: int = 1) -> dict[str, Any]:
    """Calls a second with so many in flight, and CPU of this process a call."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one() -> None:
        while (began := time.perf_counter()) < end:
            await ask()
            took.append(time.perf_counter() - began)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(in_flight)))
    wall, count = time.perf_counter() - began, len(took) * each
    took.sort()
    return {
        "rate": count / wall,
        "p50": quantile(took, 0.5),
        "p99": quantile(took, 0.99),
        "cpu_submitter_us": (time.process_time() - cpu) * 1e6 / count,
    }


def fast(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Run on uvloop, where it is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def check(result: dict[str, Any]) -> list[Check]:
    """How near the line is to its own scripts."""
    rows = result["rows"]

    def rate(name: str, level: int = 64) -> float | None:
        found: float | None = rows.get(name, {}).get(str(level), {}).get("rate")
        return found

    ours, bare = rate(LINES["peakshaver"]), rate(LINES["bare"])
    return [
        Check("round trips at 64 / our scripts, bare hiredis", 0.6, ratio(ours, bare)),
        Check("round trips at 64 / our scripts, in C", 0.6, ratio(ours, rate(IN_C))),
        Check("round trips at 64 / redis-py GETs", 1.5, ratio(ours, rate("redis-py GET, a pool"))),
    ]


def show(result: dict[str, Any]) -> str:
    """One table."""

    def cell(row: dict[str, Any], level: int, what: str) -> str:
        value = row.get(str(level), {}).get(what)
        return millis(value) if what in ("p50", "p99") else number(value, 1 if "us" in what else 0)

    rows = [
        (
            name,
            *(cell(row, level, "rate") for level in LEVELS),
            *(f"{cell(row, level, 'p50')} / {cell(row, level, 'p99')}" for level in (1, 64)),
            cell(row, 64, "script_us"),
            cell(row, 64, "cpu_submitter_us"),
            row.get("failed", ""),
        )
        for name, row in result["rows"].items()
    ]
    head = ("", *(f"/s at {n}" for n in LEVELS), *(f"p50 / p99 ms at {n}" for n in (1, 64)))
    return table((*head, "µs of scripts at 64", "µs of the client's CPU at 64", ""), rows)


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Nothing: the table says it."""
    return []
