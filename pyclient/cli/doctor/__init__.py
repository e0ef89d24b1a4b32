"""`peakshaver doctor`: what is wrong here, why it matters, and how to mend it.

It reads only, in small steps, and may be asked of a live queue at any time: `server` the process
of Redis · `roles` who may do what · `queues` each queue and all its keys.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
from collections.abc import AsyncIterator
from pathlib import Path

from pyclient.cli.acl import ROLES
from pyclient.cli.output import OK, PROBLEM, print_json
from pyclient.cli.reach import Redis, add_redis, opened
from pyclient.errors import ConfigError, Unavailable

from .finding import MARKS, Finding
from .queues import look_at_queues
from .roles import look_at_roles
from .server import look_at_server, look_at_slot

_FILES = 4096


def add(parser: argparse.ArgumentParser) -> None:
    """Where Redis is, which queues, and whose credentials are tried too."""
    add_redis(parser)
    parser.add_argument("--queue", help="the queue (default: PEAK_QUEUE)")
    parser.add_argument("--all", action="store_true", help="every queue under the prefix")
    parser.add_argument(
        "--as",
        dest="logins",
        action="append",
        default=[],
        metavar="ROLE=FILE",
        type=_login,
        help="connect as this role too; FILE holds its address (an argument could be read by "
        f"others). Roles: {', '.join(sorted(ROLES))}",
    )


def _login(word: str) -> tuple[str, str]:
    role, _, file = word.partition("=")
    if role not in ROLES or not file:
        raise argparse.ArgumentTypeError(f"expected ROLE=FILE, a role of {', '.join(ROLES)}")
    try:
        return role, Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{file}: {error.strerror}") from None


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where one of them is a problem."""
    findings = asyncio.run(_gather(args))
    bad = any(finding.state == "problem" for finding in findings)
    if args.json:
        print_json({"ok": not bad, "findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            print(f"{MARKS[finding.state]} {finding.text}")
            if finding.fix:
                print(f"    fix: {finding.fix}")
    return PROBLEM if bad else OK


async def _gather(args: argparse.Namespace) -> list[Finding]:
    found = [_files()]
    try:
        async with opened(args) as redis:
            try:
                found += [finding async for finding in _looks(redis, args)]
            except Unavailable as error:
                if error.code != "NOPERM":
                    raise
                fix = "give doctor the user of the operator: peakshaver acl operator"
                found.append(Finding("problem", "acl", str(error), fix))
    except ConfigError as error:
        found.append(Finding("problem", "config", str(error)))
    return found


async def _looks(redis: Redis, args: argparse.Namespace) -> AsyncIterator[Finding]:
    await redis.conn.homes()  # of a Cluster: from now on each question goes to the right node
    names = redis.parts(args.queue or redis.settings.queue)
    looked_at = names[:1] if args.all else names
    for part in (
        look_at_server(redis, names[0]),
        *(look_at_slot(redis, name) for name in names[1:]),
        look_at_roles(redis, args.logins),
        *(look_at_queues(redis, name, every=args.all) for name in looked_at),
    ):
        async for finding in part:
            yield finding


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FILES:
        return Finding("ok", "files", f"open files: up to {soft}")
    text = f"open files are limited to {soft}: each waiting client of a gateway takes one"
    return Finding("warning", "files", text, "ulimit -n 65536")
