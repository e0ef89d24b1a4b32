"""What stands for the subscription of a worker in a simulation: heard on a link of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from pyclient.errors import Unavailable

from .network import Link, Network
from .snapshot import text

_AGAIN_S = 0.05


class SimSubscription:
    """As pyclient.subscription.Subscription. For a while after its link was cut the server still
    counts it: what is published then is lost."""

    def __init__(
        self,
        net: Network,
        link: Link,
        channel: bytes,
        *,
        on_message: Callable[[bytes], None],
        on_change: Callable[[], None],
    ) -> None:
        self._net = net
        self._link = link
        self._caller = suffix(channel).removeprefix("given:")
        self._on_message = on_message
        self._on_change = on_change
        self._socket = 0
        self.active = False

    async def listen(self) -> None:
        """Subscribe, and again after each loss."""
        while True:
            with contextlib.suppress(Unavailable):
                await self._listen()
            await asyncio.sleep(_AGAIN_S)

    async def settle(self) -> None:
        """Return when all has been handed over that was published before."""
        if self.active:
            await self._link.send(lambda: b"PONG", what="ping", timeout=2.0)

    async def _listen(self) -> None:
        self._socket += 1
        socket = self._socket
        try:
            await self._link.send(lambda: self._subscribe(socket), what="ssubscribe", timeout=2.0)
            self._set(active=True)
            await self._link.await_push()  # for ever: only a cut ends it
        finally:
            self._socket += 1
            self._set(active=False)

    def _subscribe(self, socket: int) -> None:
        """At the server; what arrives on a socket that was closed is of no use."""
        if socket == self._socket:
            self._net.listen(self._caller, socket, lambda message: self._publish(socket, message))
            self._watch(socket)

    def _watch(self, socket: int) -> None:
        """The server notices that a socket was closed, some time later."""
        net = self._net
        if socket == self._socket and not self._link.dead:
            net.loop.call_later(0.2 * net.lease_s, self._watch, socket)
        else:
            net.listen_no_more(self._caller, socket)

    def _publish(self, socket: int, message: bytes) -> None:
        net, link = self._net, self._link
        gone = net.down or link.dead or socket != self._socket
        if gone or link.name.split("/")[0] in net.apart or net.rng.random() < net.weather.lost:
            net.seen["gift lost"] += 1
            link.cut()
            return
        at = net.loop.now + net.rng.expovariate(1 / net.weather.delay)
        link.heard = max(link.heard, at)
        net.loop.call_at(link.heard, self._heard, socket, message)

    def _heard(self, socket: int, message: bytes) -> None:
        if socket == self._socket and not self._link.dead:
            self._on_message(message)

    def _set(self, *, active: bool) -> None:
        if active is not self.active:
            self.active = active
            self._on_change()


def suffix(key: Any) -> str:
    """A key without the prefix of its queue."""
    return text(key).split("}:", 1)[1]
