"""Keeps one link to one place: opened when needed, by one attempt at a time, never in a hurry.

All callers that find no link wait for the same attempt. After a loss the next attempt waits a
random time up to a bound that doubles (full jitter), so that a thousand clients of a Redis
that restarted don't arrive as one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from .errors import PeakError, Unavailable
from .joint import outcome_of
from .link import Link

_SETTLED_S = 2.0


class Backoff:
    """Full jitter: `uniform(0, min(cap, base * 2**n))` seconds before try n."""

    def __init__(self, *, base: float = 0.05, cap: float = 1.0) -> None:
        self._base = base
        self._cap = cap
        self._tries = 0

    def next(self) -> float:
        """The seconds to wait before the next try."""
        bound = min(self._cap, self._base * 2.0 ** min(self._tries, 32))
        self._tries += 1
        return random.uniform(0.0, bound)

    def reset(self, tries: int = 0) -> None:
        """Call when a try has worked; forget all tries but `tries`."""
        self._tries = min(self._tries, tries)

    async def sleep(self) -> None:
        """Wait before the next try."""
        await asyncio.sleep(self.next())


async def while_it_answers(link: Link, every_s: float, within_s: float) -> None:
    """Return when a link that is only listened to has ended, raise Unavailable when it is silent:
    it is asked now and then."""
    while True:
        try:
            async with asyncio.timeout(every_s):
                return await link.wait_gone()
        except TimeoutError:
            await link.ask((b"PING",), asyncio.get_running_loop().time() + within_s)


class Wire:
    """A place and at most one link to it.

    `open_link` makes a link or raises PeakError. `on_open` is told of each new link.
    """

    def __init__(
        self,
        open_link: Callable[[], Awaitable[Link]],
        *,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        self._open_link = open_link
        self._on_open = on_open
        self._backoff = Backoff()
        self._not_before = 0.0
        self._opening: asyncio.Task[Link | PeakError] | None = None
        self._closed = False
        self._greeted = 0
        self._retiring: set[Link] = set()
        self.link: Link | None = None

    async def get(self, deadline: float) -> Link:
        """The link, opened if need be: one attempt. Raises Unavailable or ConfigError."""
        link = self.link
        if link is not None and link.usable:
            return link
        if self._closed:
            raise closed()
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.get_running_loop().create_task(self._open())
        try:
            async with asyncio.timeout_at(deadline):
                outcome = await outcome_of(opening, closed)
        except TimeoutError:
            raise Unavailable("no connection before the deadline", code="TIMEOUT") from None
        if isinstance(outcome, PeakError):
            raise again(outcome)
        return outcome

    def drop(self, link: Link | None, reason: str, *, at_once: bool = False) -> None:
        """Use this link no more; what it was asked may still be answered.

        `at_once` fails those calls instead: for a server whose answers count no longer.
        """
        if link is None or self.link is not link:
            return
        self.link = None
        self._slow_down(link)
        if at_once:
            link.abort(reason)
        else:
            self._retiring.add(link)
            link.retire()

    async def aclose(self) -> None:
        """End the link and the attempt; callers that wait get Unavailable."""
        self._closed = True
        opening = self._opening
        links = [*self._retiring, *([self.link] if self.link is not None else [])]
        for link in links:
            link.abort("the connection was closed on this side", code="CLOSED")
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
        for link in links:
            await link.wait_gone()

    async def _open(self) -> Link | PeakError:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(max(0.0, self._not_before - loop.time()))
            link = await self._open_link()
        except PeakError as error:
            self._not_before = loop.time() + self._backoff.next()
            return error
        finally:
            self._opening = None
        if not link.usable:
            self._not_before = loop.time() + self._backoff.next()
            return Unavailable("Redis closed the connection right after it was opened")
        link.on_end = self._ended
        self._greeted = link.sent
        self.link = link
        if self._on_open is not None:
            self._on_open()
        return link

    def _ended(self, link: Link) -> None:
        self._retiring.discard(link)
        if self.link is link:
            self.link = None
            if link.answered > self._greeted:
                # It was of use. Not forgotten at all: a call may be what ends it each time.
                self._backoff.reset(1)
            self._slow_down(link)

    def _slow_down(self, link: Link) -> None:
        now = asyncio.get_running_loop().time()
        if now - link.born > _SETTLED_S:
            self._backoff.reset()
        self._not_before = now + self._backoff.next()


def closed() -> Unavailable:
    """The error of a call on a connection that is not open."""
    return Unavailable(
        "the connection to Redis is not open: use `async with`, or open() before and aclose() "
        "after all calls",
        code="CLOSED",
    )


def again(error: PeakError) -> PeakError:
    """A fresh copy: one exception raised to many callers would grow their tracebacks.

    Never `unknown`: what was not answered is the handshake, the call was not sent.
    """
    if isinstance(error, Unavailable):
        return Unavailable(str(error), code=error.code)
    return type(error)(str(error))
