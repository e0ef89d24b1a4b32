"""What is published on one channel of a queue, heard on a socket of its own.

A shard channel (SSUBSCRIBE), so that in a Cluster only the node of the queue has to do with it.
What is published while nobody is subscribed is lost; whoever publishes is told so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from .errors import PeakError, Unavailable
from .link import Link
from .replies import error_of, is_error
from .wire import Backoff, while_it_answers

log = logging.getLogger("pyclient.subscription")

_PING_S = 10.0
_ANSWER_S = 2.0
_REFUSED_S = 30.0


class Subscription:
    """`on_message` takes each message; `on_change` is told when `active` became true or false.

    Made by `Connection.subscription`; `listen` runs until it is cancelled.
    """

    def __init__(
        self,
        open_link: Callable[[bytes], Awaitable[Link]],
        channel: bytes,
        *,
        on_message: Callable[[bytes], None],
        on_change: Callable[[], None],
    ) -> None:
        self._open_link = open_link
        self._channel = channel
        self._on_message = on_message
        self._on_change = on_change
        self._link: Link | None = None
        self.active = False

    async def listen(self) -> None:
        """Subscribe, and again after each loss."""
        backoff, level = Backoff(cap=5.0), logging.WARNING
        while True:
            try:
                await self._listen(backoff)
            except PeakError as error:
                if isinstance(error, Unavailable) and error.code == "NOPERM":
                    log.log(level, "can't subscribe to %r: %s", self._channel, error)
                    level = logging.DEBUG
                    await asyncio.sleep(_REFUSED_S)
                else:
                    log.debug("no longer subscribed: %s", error)
            await backoff.sleep()

    async def settle(self) -> None:
        """Return when all has been handed over that was published before. Raises Unavailable."""
        link = self._link
        if link is not None and link.usable:  # maybe not yet `active`, but subscribed
            await _ping(link)

    def drop(self, reason: str) -> None:
        """End the present socket: the channel may be another server's now."""
        if self._link is not None:
            self._link.abort(reason)

    async def _listen(self, backoff: Backoff) -> None:
        self._link = link = await self._open_link(self._channel)
        try:
            link.subscribe((b"SSUBSCRIBE", self._channel), self._heard)
            await _ping(link)
            backoff.reset()
            self._set(active=True)
            await while_it_answers(link, _PING_S, _ANSWER_S)
        finally:
            link.abort("no longer listening")
            self._set(active=False)

    def _set(self, *, active: bool) -> None:
        if active is not self.active:
            self.active = active
            self._on_change()

    def _heard(self, push: list[Any]) -> None:
        if push[0] == b"smessage":
            try:
                self._on_message(push[2])
            except (ValueError, OverflowError) as error:  # who may write to Redis may publish
                log.error("a message on %r can't be read: %s", self._channel, error)
        elif push[0] == b"sunsubscribe":
            self.drop("the slot of this channel has moved")


async def _ping(link: Link) -> None:
    reply = await link.ask((b"PING",), asyncio.get_running_loop().time() + _ANSWER_S)
    if is_error(reply):
        raise error_of(reply)
    if not link.usable:
        raise Unavailable("the link has ended")
