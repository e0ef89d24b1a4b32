"""Round trips through the line: submitter, worker and Redis as separate processes.

    .venv/bin/python bench/roundtrip.py [--seconds 3] [--server redis-server|embedded] [--json FILE]

Tasks of 200 bytes at 1, 64 and 512 in flight, with one and with ten routes; in turn with 64,
plain redis-py GETs at 64 in flight over a pool, what Redis itself spends per round trip
(µs of EVALSHA, commands called inside), the commands of an idle worker, and the bytes of a
waiting task. Compare ratios within a run, never figures across machines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.echo_worker import ROUTES  # noqa: E402
from bench.harness.server import Server, embedded_server  # noqa: E402
from bench.layouts import used  # noqa: E402
from pyclient import Queue  # noqa: E402
from pyclient.commands import Commands, scripts  # noqa: E402
from pyclient.connection import Connection  # noqa: E402
from pyclient.keys import new_task_id  # noqa: E402
from pyclient.model import Profile  # noqa: E402

BODY = "x" * 200
IN_FLIGHT = (1, 64, 512)


def find(kind: str) -> str:
    """The binary of a kind of server."""
    binary = shutil.which("redis-server") if kind == "redis-server" else None
    if kind == "redis-server" and binary is None:
        print("redis-server is not installed: the embedded Valkey is used", file=sys.stderr)
    return binary or embedded_server()


@contextlib.contextmanager
def worker(url: str) -> Iterator[None]:
    """One worker process."""
    env = {**os.environ, "PEAK_REDIS_URL": url, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "worker_app",
        "bench.echo_worker:worker",
        "-p",
        "1",
        "-c",
        "64",
    ]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def trips(queue: Queue, in_flight: int, seconds: float, routes: int) -> dict[str, float]:
    """Calls a second and percentiles of their time, with so many always in flight."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        while (began := time.perf_counter()) < end:
            route = ROUTES[number % routes]
            number += 1
            answer = await queue.call(route, BODY)
            took.append(time.perf_counter() - began)
            assert answer == BODY

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(in_flight)))
    elapsed = time.perf_counter() - began
    took.sort()
    return {
        "per_s": round(len(took) / elapsed),
        "p50_ms": round(took[len(took) // 2] * 1000, 3),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 3),
    }


async def gets(url: str, seconds: float) -> int:
    """Plain redis-py: GETs a second, 64 in flight over a pool of 64."""
    client = redis.asyncio.Redis.from_url(url, max_connections=64)
    await client.set("bench:get", BODY)
    count, end = 0, time.perf_counter() + seconds

    async def one() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await client.get("bench:get")
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(64)))
    elapsed = time.perf_counter() - began
    await client.aclose()
    return round(count / elapsed)


async def side_by_side(queue: Queue, url: str, seconds: float) -> tuple[dict[str, float], int]:
    """64 in flight and the GETs in turn, five times: the medians of both."""
    ours, plain = [], []
    for _ in range(5):
        ours.append(await trips(queue, 64, seconds / 3, 1))
        plain.append(await gets(url, seconds / 3))
    medians = {name: statistics.median(run[name] for run in ours) for name in ours[0]}
    return medians, round(statistics.median(plain))


def spent(client: redis.Redis) -> tuple[int, int, int]:
    """µs of scripts, script calls, and all commands so far."""
    stats: dict[str, Any] = client.info("commandstats")
    scripts_row = stats.get("cmdstat_evalsha", {"usec": 0, "calls": 0})
    ours = sum(row["calls"] for name, row in stats.items() if name != "cmdstat_info")
    return scripts_row["usec"], scripts_row["calls"], ours


async def per_trip(
    client: redis.Redis, queue: Queue, seconds: float, routes: int
) -> tuple[float, float, float]:
    """µs of Redis, inner commands and script calls per round trip at 64 in flight."""
    before, ended = spent(client), (await queue.gauge())["done"]
    await trips(queue, 64, seconds, routes)
    after, count = spent(client), (await queue.gauge())["done"] - ended
    us, calls, commands = (new - old for new, old in zip(after, before, strict=True))
    return round(us / count, 2), round((commands - calls) / count, 2), round(calls / count, 3)


async def memory(url: str, client: redis.Redis, tasks: int) -> float:
    """Bytes in Redis per waiting task of 200 bytes, route name of 12 characters."""
    conn = Connection(url)
    await conn.open()
    from pyclient.keys import Keys

    commands = Commands(conn, scripts(), Keys("peak", "bench-memory"))
    await commands.attach("AAAAAAAA")
    await commands.configure({"capacity": 0})
    profile = Profile(3, ROUTES[0], "", 3_600_000, 30_000, 0, 3, 0)
    body = b"m" + b"\xd9\xc8" + BODY.encode()  # as codec.encode has it
    base = used(client)
    for number in range(tasks // 64):
        batch = [(1, new_task_id(), body) for _ in range(64)]
        await commands.admit("AAAAAAAA", number + 1, "pull", b"0", (), (profile,), batch)
    await asyncio.sleep(0.3)
    size = (used(client) - base) / (tasks // 64 * 64)
    await conn.aclose()
    return round(size, 1)


async def measure(url: str, name: str, seconds: float) -> dict[str, Any]:
    """Everything, against one server with one worker running."""
    result: dict[str, Any] = {"server": name}
    with redis.Redis.from_url(url) as client:
        async with Queue.from_url(url, name="bench") as queue:
            with worker(url):
                assert await queue.call(ROUTES[0], BODY, timeout=20) == BODY
                for routes, key in ((1, "in_flight"), (10, "in_flight_10_routes")):
                    result[key] = {}
                    for number in IN_FLIGHT:
                        await trips(queue, number, 0.3, routes)
                        if (routes, number) == (1, 64):
                            found, result["get_per_s"] = await side_by_side(queue, url, seconds)
                        else:
                            found = await trips(queue, number, seconds, routes)
                        result[key][str(number)] = found
                one = await per_trip(client, queue, seconds, 1)
                ten = await per_trip(client, queue, seconds, 10)
                result["redis_us"], result["inner_commands"], result["script_calls"] = one
                result["redis_us_10_routes"] = ten[0]
        result["idle_commands_per_s"] = await idle(url, client)
        client.flushall()
        result["bytes_per_task"] = await memory(url, client, 20_000)
    rate = result["in_flight"]["64"]["per_s"]
    result["ratio_to_get"] = round(rate / result["get_per_s"], 2)
    return result


async def idle(url: str, client: redis.Redis, seconds: float = 10.0) -> float:
    """Commands a second that one worker with nothing to do sends."""
    with worker(url):
        await asyncio.sleep(3)
        before = spent(client)[2]
        await asyncio.sleep(seconds)
        return round((spent(client)[2] - before) / seconds, 2)


def main() -> None:
    """Run, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--server", choices=["redis-server", "embedded"], default="redis-server")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    run: Any = asyncio.run
    with contextlib.suppress(ImportError):
        import uvloop

        run = uvloop.run
    with Server(find(args.server)) as server:
        result = run(measure(server.url, server.name, args.seconds))
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
