"""`peakshaver queue`: what stands in line, and an operator's hand on it."""

from __future__ import annotations

import argparse
import asyncio
import difflib
from collections.abc import Mapping
from typing import Any

from pyclient.commands import Arg
from pyclient.errors import ConfigError, ScriptError
from pyclient.whole import configure_all

from .keyspace import is_known, queue_names
from .output import OK, PROBLEM, duration, print_json, print_table
from .reach import Redis, add_json, add_redis, opened

SETTINGS = (
    "mode order lease_ms limit capacity reserve level_step_ms state reason concurrency room".split()
)
_HEAD = ("QUEUE", "MODE", "STATE", "WAITING", "RUNNING", "LIMIT", "DUE", "DEAD", "OLDEST", "DONE")


def add(parser: argparse.ArgumentParser) -> None:
    """The verbs below it."""
    below = parser.add_subparsers(
        dest="action", required=True, metavar="ls|show|pause|resume|close|set"
    )
    below.add_parser("ls", help="all queues of the prefix")
    below.add_parser("show", help="everything known of one")
    pause = below.add_parser("pause", help="admit and lease nothing")
    close = below.add_parser("close", help="refuse new tasks and drain")
    below.add_parser("resume", help="open again")
    change = below.add_parser(
        "set",
        help="change settings, live",
        description=f"Names: {', '.join(SETTINGS)}. `concurrency` and `room` are given as "
        "concurrency:ROUTE=N and room:ROUTE=N. lua/README.md tells their meaning.",
    )
    for name, one in below.choices.items():
        add_redis(one)
        if name != "ls":
            one.add_argument("name", nargs="?", help="the queue (default: PEAK_QUEUE)")
    for one in (pause, close):
        one.add_argument("--reason", default="", help="told to those who are refused")
    change.add_argument("values", nargs="+", metavar="NAME=VALUE")
    add_json(below)


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    async with opened(args) as redis:
        if args.action == "ls":
            return await _list(args, redis)
        name, values = _named(args, redis.settings.queue)
        if args.action == "show":
            return await _show(args, redis, name)
        if args.action == "set":
            settings = parse_settings(values)
            try:
                await _set(redis, name, settings)
            except ScriptError as error:
                raise ConfigError(f"queue {name!r}: {error}") from None
        else:
            settings = _state(args)
            await _change_state(redis, name, settings)
        return _told(args, name, settings, await _gauge(redis, name))


async def _gauge(redis: Redis, name: str) -> dict[str, Any]:
    """Of one with shards the sums."""
    if len(redis.parts(name)) == 1:
        return await redis.commands(name).gauge()
    async with redis.queue(name) as queue:
        return await queue.gauge()


async def _set(redis: Redis, name: str, settings: Mapping[str, Arg]) -> None:
    """Limits of one with shards are split."""
    if len(redis.parts(name)) == 1:
        await redis.commands(name).configure(settings)
        return
    async with redis.queue(name) as queue:
        await configure_all(queue._engine, "pull", settings)


def _named(args: argparse.Namespace, default: str) -> tuple[str, list[str]]:
    """The queue, and the settings: `set a=1` has no name, `set orders a=1` has one."""
    values = list(getattr(args, "values", []))
    name = args.name
    if name is not None and "=" in name:
        values.insert(0, name)
        name = None
    return name or default, values


def _state(args: argparse.Namespace) -> dict[str, str]:
    if args.action == "resume":
        return {"state": "open", "reason": ""}
    return {"state": {"pause": "paused", "close": "closed"}[args.action], "reason": args.reason}


def parse_settings(values: list[str]) -> dict[str, str]:
    """`limit=16 concurrency:mail=4` as arguments of `configure`. Raises ConfigError."""
    settings = {}
    for text in values:
        name, equals, value = text.partition("=")
        bare, _, route = name.partition(":")
        if not equals or bare not in SETTINGS:
            close = difflib.get_close_matches(bare, SETTINGS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"names: {', '.join(SETTINGS)}"
            raise ConfigError(f"{text!r}: expected NAME=VALUE; {hint}")
        if (bare in ("concurrency", "room")) != bool(route):
            expected = f"{bare}:ROUTE=N" if bare in ("concurrency", "room") else f"{bare}=VALUE"
            raise ConfigError(f"{text!r}: expected {expected}")
        settings[f"{bare} {route}" if route else bare] = value
    return settings


async def _change_state(redis: Redis, name: str, settings: dict[str, str]) -> None:
    """Of the queue and of its sister in hold mode; of that one alone where it is named."""
    if name.endswith(".hold"):
        await redis.commands(name).configure({"mode": "hold", **settings})
        return
    async with redis.queue(name) as queue:
        if settings["state"] == "open":
            await queue.resume()
        elif settings["state"] == "paused":
            await queue.pause(settings["reason"])
        else:
            await queue.close(settings["reason"])


def _told(
    args: argparse.Namespace, name: str, settings: dict[str, str], gauge: dict[str, Any]
) -> int:
    if args.json:
        print_json({"queue": name, "set": settings, **gauge})
    else:
        print(f"{name} is {_word(gauge)}: " + " ".join(f"{k}={v}" for k, v in settings.items()))
    return OK


async def _list(args: argparse.Namespace, redis: Redis) -> int:
    names = await queue_names(redis.conn, redis.prefix)
    gauges = [(name, await redis.commands(name).gauge()) for name in names]
    if args.json:
        print_json([{"queue": name, **gauge} for name, gauge in gauges])
    elif not gauges:
        print(f"no queue under {redis.prefix!r} at {redis.address}")
    else:
        print_table(_HEAD, [_row(name, gauge) for name, gauge in gauges])
    return OK


def _row(name: str, gauge: dict[str, Any]) -> tuple[object, ...]:
    return (
        name,
        gauge["mode"],
        _word(gauge),
        gauge["waiting"],
        gauge["running"],
        gauge["limit"] or "–",
        gauge["due"],
        gauge["dead"],
        duration(gauge["oldest_ms"]),
        gauge["done"],
    )


def _word(gauge: dict[str, Any]) -> str:
    reason = f" ({gauge['reason']})" if gauge["reason"] else ""
    return f"{gauge['state']}{reason}"


async def _show(args: argparse.Namespace, redis: Redis, name: str) -> int:
    known = await is_known(redis.conn, redis.commands(redis.parts(name)[0]).keys)
    gauge = await _gauge(redis, name)
    if args.json:
        print_json({"queue": name, "known": known, **gauge})
        return OK if known else PROBLEM
    if not known:
        print(f"no queue {name!r} under {redis.prefix!r} at {redis.address}; these are defaults:")
    levels = " ".join(f"{level}:{count}" for level, count in enumerate(gauge["levels"]) if count)
    for key, value in gauge.items():
        if key not in ("levels", "routes", "now_ms", "shards"):
            print(f"{key:11} {duration(value) if key in ('oldest_ms', 'claimed_ms') else value}")
    print(f"{'levels':11} {levels or 'nothing waits'}")
    routes = gauge["routes"]
    if routes:
        print()
        rows = [
            (route, r["living"], r["running"], r["parked"] or "–") for route, r in routes.items()
        ]
        print_table(("ROUTE", "LIVING", "RUNNING", "PARKED"), rows)
    return OK if known else PROBLEM
