"""`peakshaver doctor`: what is wrong here, why it matters, and how to mend it."""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from pyclient.errors import ConfigError, ScriptError

from .keyspace import is_known
from .output import OK, PROBLEM, duration, print_json
from .reach import Redis, add_redis, opened

_MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}
_FILES = 4096
_PINGS = 20
_SLOW_MS = 20.0
_CLAIM_MS = 5000


class Finding(NamedTuple):
    """One line of the report."""

    state: str
    name: str
    text: str
    fix: str = ""


def add(parser: argparse.ArgumentParser) -> None:
    """Where Redis is."""
    add_redis(parser)
    parser.add_argument("--queue", help="the queue (default: PEAK_QUEUE)")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where one of them is a problem."""
    findings = asyncio.run(_gather(args))
    bad = any(finding.state == "problem" for finding in findings)
    if args.json:
        print_json({"ok": not bad, "findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            print(f"{_MARKS[finding.state]} {finding.text}")
            if finding.fix:
                print(f"    fix: {finding.fix}")
    return PROBLEM if bad else OK


async def _gather(args: argparse.Namespace) -> list[Finding]:
    found = [_files()]
    try:
        async with opened(args) as redis:
            queue = args.queue or redis.settings.queue
            found += [finding async for finding in _looks(redis, queue)]
    except ConfigError as error:
        found.append(Finding("problem", "config", str(error)))
    return found


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FILES:
        return Finding("ok", "files", f"open files: up to {soft}")
    text = f"open files are limited to {soft}: each waiting client of a gateway takes one"
    return Finding("warning", "files", text, "ulimit -n 65536")


async def _looks(redis: Redis, queue: str) -> AsyncIterator[Finding]:
    facts = _facts(await redis.conn.command("INFO"))
    yield await _server(redis, facts)
    yield _memory(facts)
    yield await _loaded(redis)
    commands = redis.commands(queue)
    if not await is_known(redis.conn, commands.keys):
        yield Finding("ok", "queue", f"queue {queue!r} has not been used yet")
        return
    try:
        gauge = await commands.gauge()
    except ScriptError as error:
        yield Finding("problem", "queue", f"queue {queue!r}: {error}", "upgrade this process")
        return
    yield _queue(queue, gauge)
    yield _letters(queue, gauge)


def _facts(info: bytes | str) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else info
    return {k: v for k, _, v in (line.partition(":") for line in text.splitlines()) if v}


async def _server(redis: Redis, facts: dict[str, str]) -> Finding:
    valkey = facts.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {facts.get('redis_version', '?')}"
    took = []
    for _ in range(_PINGS):
        begun = time.perf_counter()
        await redis.conn.command("PING")
        took.append((time.perf_counter() - begun) * 1000)
    slowest = max(took)
    text = f"{name} at {redis.address}, slowest of {_PINGS} pings {slowest:.1f} ms"
    if slowest > _SLOW_MS:
        return Finding("warning", "server", text, "put gateway and workers nearer to Redis")
    return Finding("ok", "server", text)


def _memory(facts: dict[str, str]) -> Finding:
    """The loader has refused an evicting server already; a full one still drains."""
    used, most = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    text = f"memory: {used / 2**20:.0f} MiB of {f'{most / 2**20:.0f} MiB' if most else 'no limit'}"
    text += f", eviction {facts.get('maxmemory_policy', 'unknown')}"
    if most and used > 0.9 * most:
        return Finding("problem", "memory", text, "raise maxmemory, or lower PEAK_MAX_QUEUE")
    return Finding("ok", "memory", text)


async def _loaded(redis: Redis) -> Finding:
    shas = [script.sha for script in redis.scripts.values()]
    present = sum(await redis.conn.command("SCRIPT", "EXISTS", *shas))
    text = f"scripts: {present} of {len(shas)} of this release are loaded"
    return Finding("ok", "scripts", text if present else f"{text}; the first use loads them")


def _queue(name: str, gauge: dict[str, Any]) -> Finding:
    text = (
        f"queue {name!r} ({gauge['mode']}, {gauge['state']}): {gauge['waiting']} waiting, oldest "
        f"{duration(gauge['oldest_ms'])}, {gauge['running']} running, {gauge['due']} due"
    )
    if gauge["state"] != "open":
        fix = f"peakshaver queue resume {name}"
        return Finding("warning", "queue", f"{text}; reason: {gauge['reason'] or 'none'}", fix)
    idle = gauge["claimed_ms"] < 0 or gauge["claimed_ms"] > _CLAIM_MS
    if gauge["mode"] == "pull" and gauge["waiting"] and not gauge["running"] and idle:
        fix = "start one: peakshaver worker"
        return Finding("problem", "queue", f"{text}; no worker takes anything", fix)
    return Finding("ok", "queue", text)


def _letters(name: str, gauge: dict[str, Any]) -> Finding:
    if not gauge["dead"]:
        return Finding("ok", "dead", "no dead letters")
    fix = f"peakshaver dead ls --queue {name}, then dead revive"
    return Finding("warning", "dead", f"{gauge['dead']} dead letters", fix)
