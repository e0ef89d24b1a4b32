"""`peakshaver dead`: tasks that used up their attempts, and their way back."""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime

from pyclient.errors import ConfigError
from pyclient.keys import new_task_id

from .keyspace import Letter, dead_letters
from .output import OK, PROBLEM, print_json, print_table
from .reach import Redis, add_json, add_redis, opened

_BATCH = 64
_MOST = 10_000


def add(parser: argparse.ArgumentParser) -> None:
    """The verbs below it."""
    below = parser.add_subparsers(dest="action", required=True, metavar="ls|revive")
    ls = below.add_parser("ls", help="the newest first")
    ls.add_argument("--limit", type=_count, default=100, help="so many (100)")
    revive = below.add_parser("revive", help="put them in line again, as new tasks")
    revive.add_argument("ids", nargs="*", metavar="ID")
    revive.add_argument("--all", action="store_true", help="every one there is")
    for one in (ls, revive):
        add_redis(one)
        one.add_argument("--queue", help="the queue (default: PEAK_QUEUE)")
    add_json(below)


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"expected 1..{_MOST}, got {text}")
    return value


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    async with opened(args) as redis:
        name = args.queue or redis.settings.queue
        if args.action == "ls":
            return await _list(args, redis, name)
        return await _revive(args, redis, name)


async def _list(args: argparse.Namespace, redis: Redis, name: str) -> int:
    letters = await dead_letters(redis.conn, redis.commands(name).keys, args.limit)
    if args.json:
        print_json([letter._asdict() for letter in letters])
    elif not letters:
        print(f"no dead letters in queue {name!r}")
    else:
        head = ("ID", "DIED (UTC)", "ROUTE", "LEVEL", "ATTEMPTS", "REASON")
        print_table(head, [_row(letter) for letter in letters])
    return OK


def _row(letter: Letter) -> tuple[object, ...]:
    died = datetime.fromtimestamp(letter.dead_ms / 1000, UTC)
    reason = letter.reason.partition("\n")[0][:80]
    return (
        letter.id,
        f"{died:%Y-%m-%d %H:%M:%S}",
        letter.route,
        letter.level,
        letter.attempts,
        reason,
    )


async def _revive(args: argparse.Namespace, redis: Redis, name: str) -> int:
    commands = redis.commands(name)
    if bool(args.ids) == args.all:
        raise ConfigError("expected ids, or --all (`peakshaver dead ls` lists them)")
    ids = args.ids
    if args.all:
        ids = [letter.id for letter in await dead_letters(redis.conn, commands.keys, _MOST)]
    rows = []
    for start in range(0, len(ids), _BATCH):
        pairs = [(dead, new_task_id()) for dead in ids[start : start + _BATCH]]
        told = await commands.revive(pairs)
        rows += [(dead, new, word) for (dead, new), word in zip(pairs, told.words, strict=True)]
    if args.json:
        print_json([{"dead": d, "new": n if w == "OK" else None, "word": w} for d, n, w in rows])
    elif rows:
        shown = [(d, w.lower(), n if w == "OK" else "–") for d, n, w in rows]
        print_table(("DEAD", "WORD", "NEW TASK"), shown)
    else:
        print(f"no dead letters in queue {name!r}")
    return OK if all(word == "OK" for _, _, word in rows) else PROBLEM
