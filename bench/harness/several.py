"""Enqueueing where a system has no call for many tasks: one each, 64 at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

AT_ONCE = 64
CHUNK = 500


async def by_many(payloads: Sequence[str], one: Callable[[str], Awaitable[object]]) -> None:
    """Await `one` for each payload."""
    left = iter(payloads)

    async def some() -> None:
        for payload in left:
            await one(payload)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


def chunks(payloads: Sequence[str]) -> list[Sequence[str]]:
    """For systems whose bulk call takes a list: 500 a call."""
    return [payloads[start : start + CHUNK] for start in range(0, len(payloads), CHUNK)]
