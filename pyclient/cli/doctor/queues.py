"""A queue: what it is doing, and whether all its keys fit together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import Any

from pyclient.cli.audit.invariants import Violation
from pyclient.cli.audit.looks import confirmed
from pyclient.cli.audit.reading import Reader
from pyclient.cli.audit.records import clock
from pyclient.cli.audit.snapshot import Snapshot, text
from pyclient.cli.keyspace import QUEUE_KEY, is_known, scan
from pyclient.cli.output import duration
from pyclient.cli.reach import Redis
from pyclient.errors import ConfigError, ScriptError
from pyclient.keys import Keys, check_name

from .advice import advice
from .finding import Finding

_CLAIM_MS = 5000
_SCANS = 5000
_SHOWN = 3
_AHEAD_US = 2_000_000
_EPOCH_US = 1_735_689_600_000_000


async def look_at_queues(redis: Redis, queue: str, *, every: bool) -> AsyncIterator[Finding]:
    """The queue and its sister for slots, or all; then keys that belong to none."""
    names, strays = await _keys(redis)
    wanted = sorted(names) if every else [queue, *({f"{queue}.hold"} & names.keys())]
    for name in wanted:
        try:
            keys = Keys(redis.prefix, check_name("queue name", name))
        except ConfigError:
            strays += [f"{name}: {key}" for key in names[name]]
            continue
        async for finding in _queue(redis, keys, names.get(name, [])):
            yield finding
    if strays:
        said = f"{len(strays)} keys under the prefix belong to no queue: {_some(strays)}"
        yield Finding("problem", "keys", said, "find who writes them, then UNLINK them")


async def _keys(redis: Redis) -> tuple[dict[str, list[str]], list[str]]:
    """Suffixes by queue, and keys that are not of the form of a queue's."""
    names: dict[str, list[str]] = defaultdict(list)
    strays = []
    async for key in scan(redis.conn, f"{redis.prefix}:*", calls=_SCANS):
        match = QUEUE_KEY.fullmatch(key)
        if match:
            names[text(match["queue"])].append(text(match["name"]))
        else:
            strays.append(text(key))
    return names, strays


_OTHER_LAYOUT = {
    "NEWER": "a newer release wrote it: upgrade this process",
    "OLDER": "an older release wrote it: have that one serve it to its end, then delete its keys",
}


async def _queue(redis: Redis, keys: Keys, names: list[str]) -> AsyncIterator[Finding]:
    commands = redis.commands(keys.name)
    if not await is_known(redis.conn, keys) and not names:
        yield Finding("ok", "queue", f"queue {keys.name!r} has not been used yet")
        return
    try:
        gauge = await commands.gauge()
    except ScriptError as error:
        text = f"queue {keys.name!r}: {error}"
        fix = _OTHER_LAYOUT.get(error.code, "")
        yield Finding("problem", "queue", text, fix)
        gauge = None
    if gauge is not None:
        yield _state(keys.name, gauge)
        yield _letters(keys.name, gauge)
    reader = Reader(redis.conn, keys.base)
    snap, found = await confirmed(lambda: reader.read(names))
    for finding in _violations(keys, found):
        yield finding
    for finding in _times(keys.name, snap, gauge):
        yield finding
    if not found:
        yield _sound(keys.name, snap)


def _sound(name: str, snap: Snapshot) -> Finding:
    size = len(snap.hash("tasks"))
    said = f"queue {name!r}: all invariants hold over {size} tasks and {len(snap.ttl)} keys"
    if snap.left_out:
        said = f"queue {name!r}: {', '.join(snap.left_out)} too long to be looked at in full"
        return Finding("warning", "invariants", said, "ask again when less waits")
    if snap.slack:
        said += f" (it is busy: counts were checked to within {snap.slack})"
    return Finding("ok", "invariants", said)


def _violations(keys: Keys, found: list[Violation]) -> list[Finding]:
    """One finding a check: a fault of one kind often shows in many places."""
    by_check: dict[str, list[Violation]] = defaultdict(list)
    for one in found:
        by_check[one.check].append(one)
    return [
        Finding(
            "problem",
            check,
            f"queue {keys.name!r}: {_some([one.text for one in ones])}",
            advice(check, keys, ones[0]),
        )
        for check, ones in by_check.items()
    ]


def _some(texts: list[str]) -> str:
    more = len(texts) - _SHOWN
    said = "; ".join(re.sub(r"[^ -~]", "?", text)[:200] for text in texts[:_SHOWN])
    return f"{said}; and {more} more" if more > 0 else said


def _times(name: str, snap: Snapshot, gauge: dict[str, Any] | None) -> Iterable[Finding]:
    """Nobody sweeps, or the clock of the server was set back."""
    if gauge is None:
        return
    try:
        when = clock(snap)
    except ValueError:
        return
    now_ms, lease_ms = gauge["now_ms"], gauge["lease_ms"]
    late = [end for end in snap.zset("leases").values() if end < now_ms - lease_ms - 1000]
    if late and now_ms >= when.grace:
        text = f"queue {name!r}: {len(late)} leases ended and nobody sweeps"
        fix = "start what serves this queue: any gateway, worker or open Queue sweeps"
        yield Finding("problem", "sweep", text, fix)
    if when.tick > now_ms * 1000 + _AHEAD_US:
        ahead = duration(when.tick // 1000 - now_ms)
        text = f"queue {name!r} is {ahead} ahead of its server: the server's clock was set back"
        fix = "order and fences still hold; waiting times are wrong until the clock has caught up"
        yield Finding("warning", "ticks", text, fix)
    if gauge["limit"] and gauge["running"] > gauge["limit"]:
        text = f"queue {name!r}: {gauge['running']} run, the limit is {gauge['limit']}"
        fix = "nothing, if it was lowered a moment ago: what runs ends first"
        yield Finding("warning", "limit", text, fix)


def _state(name: str, gauge: dict[str, Any]) -> Finding:
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
