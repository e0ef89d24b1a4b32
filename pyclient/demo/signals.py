"""Ctrl-C as a way to end: the first signal cancels the work, which then cleans up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """No error: the work was ended by a signal, and has cleaned up."""


async def until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Await `work`; each signal cancels it once, so a second one cuts the clean-up short.

    Raises Interrupted.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in NUMBERS:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise Interrupted from None
    finally:
        for number in NUMBERS:
            loop.remove_signal_handler(number)
