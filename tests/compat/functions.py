"""Functions of a node, called as (redis, mysql, **form): named so that the first letter lies."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from typing import Any


async def sleepy(redis: Any, mysql: Any, seconds: float = 0.0, name: str = "") -> str:
    """Async, though its name begins with s; notes in Redis when it ran."""
    if name:
        await _note(redis, f"began {name}")
    await asyncio.sleep(seconds)
    if name:
        await _note(redis, f"ended {name}")
    return name or "slept"


def add(redis: Any, mysql: Any, a: int, b: int) -> int:
    """Sync, though its name begins with a."""
    return a + b


def awake(redis: Any, mysql: Any, seconds: float) -> str:
    """Sync, and it blocks."""
    time.sleep(seconds)
    return "awake"


async def other(redis: Any, mysql: Any, text: str) -> str:
    """Async, though its name begins with neither a nor s."""
    return text.upper()


def starred(*args: Any) -> str:
    """As the first function of the README takes them."""
    return f"{len(args)} {args[1]}"


def echo(redis: Any, mysql: Any, value: Any = None, **more: Any) -> Any:
    """What came."""
    return {"value": value, **more} if more else value


def wide(redis: Any, mysql: Any) -> int:
    """No msgpack carries it."""
    return -(2**70)


def odd(redis: Any, mysql: Any) -> object:
    """Nor this."""
    return {"inside": [object()]}


def broken(redis: Any, mysql: Any, text: str) -> None:
    """Raises what it is told to."""
    raise KeyError(text)


def leave(redis: Any, mysql: Any) -> None:
    """Must not end the node."""
    sys.exit(3)


class Mute(Exception):
    """Says nothing of itself."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def grave(redis: Any, mysql: Any, which: str) -> None:
    """Raises what most code does not expect."""
    raise {"mute": Mute(), "ctrl-c": KeyboardInterrupt(), "cancelled": asyncio.CancelledError(4)}[
        which
    ]


async def grave_too(redis: Any, mysql: Any, which: str) -> None:
    """The same, awaited."""
    grave(redis, mysql, which)


class Multiplier:
    """An object that is called."""

    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, redis: Any, mysql: Any, x: int) -> int:
        return x * self.by


class AsyncMultiplier(Multiplier):
    """The same, awaited."""

    async def __call__(self, redis: Any, mysql: Any, x: int) -> int:  # type: ignore[override]
        return x * self.by


async def _note(redis: Any, text: str) -> None:
    result = redis.rpush("noted", text)
    if asyncio.iscoroutine(result) or hasattr(result, "__await__"):
        await result
    expiring = redis.expire("noted", 60)
    if hasattr(expiring, "__await__"):
        await expiring


FUNCTIONS: dict[str, Any] = {
    "sleepy": sleepy,
    "add": add,
    "awake": awake,
    "other": other,
    "starred": starred,
    "echo": echo,
    "wide": wide,
    "odd": odd,
    "broken": broken,
    "leave": leave,
    "grave": grave,
    "grave_too": grave_too,
    "partial": functools.partial(add, b=40),
    "async_partial": functools.partial(other, text="part"),
    "object": Multiplier(3),
    "async_object": AsyncMultiplier(5),
    "lambda": lambda redis, mysql, text: other(redis, mysql, text),
}
