"""One attempt for all that ask for it meanwhile: each with one of its own would wait for those
before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def outcome_of(attempt: asyncio.Task[T], closed: Callable[[], Exception]) -> T:
    """What a common attempt brings. Where it was cancelled, something was closed, and whoever
    waits was not cancelled by that: raises `closed()`."""
    await asyncio.wait([attempt])
    if attempt.cancelled():
        raise closed()
    return attempt.result()
