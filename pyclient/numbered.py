"""Numbered calls: one caller, one writing call in flight, each sent until its reply is known.

A reply that is lost leaves the call *unknown*: it may have run. It is sent again under the same
number, and the script answers as it did. What is still unknown when patience ends stays so; the
next call has a higher number, so that a copy which arrives late does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .errors import Unavailable
from .keys import new_caller_id

T = TypeVar("T")

_PAUSE_S = 0.05


class NumberedCaller:
    """The identity of one client object. `id` is also the name of its inbox."""

    def __init__(self) -> None:
        self.id = new_caller_id()
        self._number = 0
        self._busy = asyncio.Lock()

    async def run(self, send: Callable[[int], Awaitable[T]], *, patience: float = 5.0) -> T:
        """Send under the next number; again under the same one while the outcome is unknown,
        for `patience` seconds and at least once. Raises what `send` raises,
        Unavailable(unknown=True) at last."""
        async with self._busy:
            self._number += 1
            number = self._number
            loop = asyncio.get_running_loop()
            give_up = loop.time() + patience
            unknown, tries = False, 0
            while True:
                tries += 1
                try:
                    return await send(number)
                except Unavailable as error:
                    unknown = unknown or error.unknown
                    if not unknown:
                        raise
                    if loop.time() >= give_up and tries > 1:
                        raise Unavailable(str(error), code=error.code, unknown=True) from error
                await asyncio.sleep(_PAUSE_S)
