"""A valid call of every script, and what makes each of its arguments malformed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .rig import task_id

BIG = 2**53 - 1
MONTH = 2_592_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """One argument: its name in the header, a valid value, its kind and range, and how an error
    names it (empty: the value shifts what follows, so that any name will do)."""

    name: str
    value: Any
    kind: str
    low: int = 0
    high: int = 0
    named: str = ""


def integer(name: str, value: int, low: int, high: int, named: str | None = None) -> Part:
    """An integer argument."""
    return Part(name, value, "int", low, high, name if named is None else named)


def word(name: str, value: str) -> Part:
    """One of several words."""
    return Part(name, value, "word", named=name)


CALLER = Part("caller", "g0", "caller", named="caller")
NUMBER = integer("number", 0, 0, BIG)
MAX_LEVEL = Part("max_level", "9+", "level", named="max_level")
LEASE = [Part("id", task_id(1), "id", named="id"), integer("fence", 7, 0, BIG)]
BUCKET = [
    Part("name", "all", "name", named="bucket"),
    integer("tokens", 5, 1, 1_000_000_000),
    integer("period_us", 1_000_000, 1, 1_000_000_000_000),
    integer("burst", 5, 1, 1_000_000_000),
]
PROFILE = [
    integer("level", 3, 0, 9),
    Part("route", "r0", "name", named="route"),
    Part("tenant", "acme", "tenant", named="tenant"),
    integer("wait_ms", 1000, 1, MONTH),
    integer("run_ms", 1000, 1, MONTH),
    integer("due_ms", 0, 0, MONTH),
    integer("attempts", 1, 1, 255),
    integer("keep_s", 0, 0, 604_800),
    Part("options", "take=1:1", "options"),
]
CALLS: dict[str, list[Part]] = {
    "admit": [
        CALLER,
        NUMBER,
        word("mode", "pull"),
        Part("trim_id", "0", "stream", named="trim_id"),
        integer("buckets", 1, 0, 64, ""),
        *BUCKET,
        integer("profiles", 1, 1, 64, ""),
        *PROFILE,
        Part("profile", 1, "index", 1, 1, "profile"),
        Part("id", task_id(1), "id", named="id"),
        Part("body", b"\0\r\n\xff", "body", named="body"),
    ],
    "attach": [CALLER, LEASE[0]],
    "cancel": [CALLER, NUMBER, word("reason", "expired"), LEASE[0]],
    "claim": [CALLER, NUMBER, integer("limit", 1, 0, 64), MAX_LEVEL],
    "configure": [Part("name", "limit", "setting"), Part("value", "7", "limit", named="limit")],
    "fetch": [word("what", "state"), LEASE[0]],
    "gauge": [],
    "limit": [*BUCKET, Part("cost", 1, "cost", named="cost")],
    "place": [
        CALLER,
        NUMBER,
        word("mode", "pull"),
        word("action", "take"),
        LEASE[0],
        Part("route", "r0", "name", named="route"),
        integer("level", 3, 0, 9),
    ],
    "publish": [
        CALLER,
        NUMBER,
        integer("limit", 0, 0, 64),
        MAX_LEVEL,
        *LEASE,
        word("word", "done"),
        Part("body", "", "any"),
    ],
    "renew": [CALLER, *LEASE],
    "retry": [
        CALLER,
        NUMBER,
        *LEASE,
        integer("delay_ms", 0, 0, MONTH),
        integer("counted", 1, 0, 2),
        Part("reason", "busy", "reason", named="reason"),
    ],
    "revive": [
        Part("dead_id", task_id(1), "id", named="id"),
        Part("new_id", task_id(2), "id", named="id"),
    ],
    "sweep": [],
}


def _integers(part: Part) -> list[Any]:
    wrong: list[Any] = ["", "x", "-1", "+1", " 1", "1 ", "1.5", "1e3", "0x10", "nan", "inf", "1\0"]
    wrong += ["9" * 400, part.high + 1 if part.high < BIG else 2**53]
    return [*wrong, part.low - 1] if part.low else wrong


def _names(_: Part) -> list[Any]:
    return ["a b", "a:b", "{a}", "a|b", "a*", "a\0", "ä", "x" * 65, "x" * 10_000_000]


def _options(_: Part) -> list[Any]:
    take = ["take=2:1", "take=0:1", "take=1", "take=1:x", "take=1:-1", "take="]
    twice = "take=1:1;take=1:1"
    five = "take=" + ",".join(["1:1"] * 5)
    other = ["x", "x=1", "=", "same=", "same=a", "same=a:", "same=a b:c", "place=", "place=short"]
    return [*take, twice, five, *other, "same=" + "a" * 100 + ":" + "b" * 100]


def _settings(_: Part) -> list[Any]:
    return ["", "limits", "LIMIT", "concurrency", "room", "room a b", "room {x}", "size r0", "q"]


BAD: dict[str, Callable[[Part], list[Any]]] = {
    "any": lambda _: [],
    "body": lambda _: ["x" * 5000],
    "caller": lambda part: ["", *_names(part), "a/b"],
    "cost": lambda _: ["", "x", "--1", "- 1", "1.5", "nan", "9" * 20, "-9999999999"],
    "id": lambda _: ["", "x" * 21, "x" * 23, "x" * 21 + "{", "x" * 21 + "\0", "x" * 10_000_000],
    "index": lambda _: ["", "0", "2", "-1", "x", "1.5", "nan"],
    "int": _integers,
    "level": lambda _: ["", "+", "x", "10", "-1", "9++", "9 ", " 9", "+9", "9+1", "9-", "9\0"],
    "limit": lambda _: ["", "-1", "x", "1000001", "1.5", "nan"],
    "name": lambda part: ["", *_names(part)],
    "options": _options,
    "reason": lambda _: ["x" * 1025],
    "setting": _settings,
    "stream": lambda _: ["", "x", "-", "1-", "-1", "1-2-3", "1" * 60, "$", "+"],
    "tenant": _names,
    "word": lambda part: ["", "x", f"{part.value} ", str(part.value).upper(), "nan"],
}
SETTINGS: dict[str, list[str]] = {
    "mode": ["", "push", "PULL", "0"],
    "order": ["", "fair", "x"],
    "lease_ms": ["", "99", "3600001", "-1", "1e3"],
    "limit": ["", "-1", "1000001"],
    "capacity": ["", "-1", "100000001"],
    "reserve": ["", "1", "0,0,0,0,0,0,0,0,0", "0,0,0,0,0,0,0,0,0,0,0", "2,1,1,1,1,1,1,1,1,1", "x"],
    "level_step_ms": ["", "-1", "Strict", "1.5", "99999999999999"],
    "state": ["", "shut", "OPEN"],
    "reason": ["x" * 201, "a\nb", "a\0b"],
    "concurrency r0": ["", "-1", "1000001", "x"],
    "room r0": ["", "-1", "1000001", "x"],
}
