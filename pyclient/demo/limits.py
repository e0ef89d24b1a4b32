"""What a process of the demo takes from the machine: open files, and the loop it runs on."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Coroutine
from typing import Any

WANTED = 16_384


def raise_file_limit() -> int:
    """As high as the system lets us, up to what a demo needs; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return WANTED if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS allows less than it says
        return soft
    return wanted


def run_fast(main: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run`, on uvloop where there is one: the demo shares two cores with what it shows."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
