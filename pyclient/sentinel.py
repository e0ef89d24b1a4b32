"""The primary of a service, as its Sentinels name it now."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

from .address import Address, Endpoint
from .dial import Greeting, dial
from .errors import ConfigError, PeakError, Unavailable
from .link import Limits, Link
from .replies import error_of, is_error, text_of
from .topology import Sole
from .wire import Backoff, while_it_answers

log = logging.getLogger("pyclient.connection")

_ASK_S = 1.0
_REST_S = 0.1
_PING_S = 5.0
_PROMISE_S = 3.0
_STALE_S = 15.0
_EARLY = ("+failover-state-send-slaveof-noone", "+promoted-slave")
_WATCHED = (*_EARLY, "+switch-master")


class Sentinels(Sole):
    """The primary of a service, as its Sentinels name it.

    A deposed primary goes on taking writes for about ten seconds, all of them lost. So one
    task a Sentinel listens, and from the moment in which the leader tells a replica to take over
    that replica alone is tried; if it has not become primary in 3 s, the Sentinels are asked.
    """

    def __init__(self, address: Address, limits: Limits) -> None:
        super().__init__(Endpoint(f"service {address.service}", 0))
        self._service = address.service
        self._sentinels = list(address.endpoints)
        self._greeting = Greeting.of(address)
        self._sentinel_greeting = Greeting.of_sentinel(address)
        self._limits = limits
        self._tasks: list[asyncio.Task[None]] = []
        self._on_switch: Callable[[str], None] | None = None
        self._primary: Endpoint | None = None
        self._promised_until = 0.0
        self._left: dict[Endpoint, float] = {}

    async def open(self, place: Endpoint) -> Link:
        promised = asyncio.get_running_loop().time() < self._promised_until
        endpoint = self._primary if promised else None
        endpoint = endpoint or await self._locate()
        link = await dial(endpoint, self._greeting, limits=self._limits)
        try:
            await _want_primary(link, endpoint)
            if self._promised_elsewhere(endpoint):  # a deposed one still says that it is primary
                raise Unavailable(
                    f"{endpoint} is being replaced by {self._primary}", code="SENTINEL"
                )
        except BaseException:
            link.abort("not the primary")
            raise
        self._primary, self._promised_until = endpoint, 0.0
        return link

    def start(self, on_switch: Callable[[str], None]) -> None:
        self._on_switch = on_switch
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch(one)) for one in self._sentinels]

    async def aclose(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _promised_elsewhere(self, endpoint: Endpoint) -> bool:
        now = asyncio.get_running_loop().time()
        return now < self._promised_until and self._primary != endpoint

    async def _locate(self) -> Endpoint:
        """Ask all Sentinels: of those that answer, the one whose configuration is newest is right.

        One that lags behind may name a primary that was deposed twice since. Half of them may be
        away; for the last ones nobody waits long.
        """
        tasks = [asyncio.create_task(self._ask(one)) for one in self._sentinels]
        answers: list[tuple[int, Endpoint, Endpoint]] = []
        found: list[str] = []
        waiting, patience = set(tasks), 2 * _ASK_S
        try:
            while waiting and patience:
                done, waiting = await asyncio.wait(
                    waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    said = task.result()
                    if isinstance(said, str):
                        found.append(said)
                    else:
                        answers.append(said)
                if not done or 2 * len(answers) > len(tasks):
                    patience = _REST_S if done else 0.0
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not answers:
            raise Unavailable(
                f"no Sentinel names a primary of {self._service!r} ({'; '.join(found)})",
                code="SENTINEL",
            )
        _, sentinel, endpoint = max(answers, key=lambda one: one[0])
        self._prefer(sentinel)
        return endpoint

    async def _ask(self, sentinel: Endpoint) -> tuple[int, Endpoint, Endpoint] | str:
        """The epoch of its configuration, itself, and the primary; or why there is no answer."""
        try:
            async with asyncio.timeout(_ASK_S):
                link = await dial(sentinel, self._sentinel_greeting)
                try:
                    epoch, endpoint = await asyncio.gather(self._epoch(link), self._master(link))
                    return epoch, sentinel, endpoint
                finally:
                    link.abort("asked and answered")
        except TimeoutError:
            return f"{sentinel}: no answer within {_ASK_S:g} s"
        except PeakError as error:
            return f"{sentinel}: {error}"

    async def _epoch(self, link: Link) -> int:
        """It rises with each switch. -1 where the user may not ask."""
        deadline = asyncio.get_running_loop().time() + 2 * _ASK_S
        reply = await link.ask(("SENTINEL", "MASTER", self._service), deadline)
        if is_error(reply):
            return -1
        flat = [text_of(one) for one in reply]
        return int(dict(zip(flat[::2], flat[1::2], strict=True)).get("config-epoch", -1))

    async def _master(self, link: Link) -> Endpoint:
        name, deadline = self._service, asyncio.get_running_loop().time() + 2 * _ASK_S
        reply = await link.ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), deadline)
        if is_error(reply):
            raise error_of(reply)
        if not reply:
            raise Unavailable(f"knows no service {name!r}", code="SENTINEL")
        return Endpoint(text_of(reply[0]), int(reply[1]))

    def _prefer(self, sentinel: Endpoint) -> None:
        self._sentinels.remove(sentinel)
        self._sentinels.insert(0, sentinel)

    async def _watch(self, sentinel: Endpoint) -> None:
        """Listen to one Sentinel for ever; a hint only, each call is checked anyway."""
        backoff = Backoff()
        while True:
            try:
                await self._listen(sentinel, backoff)
            except PeakError as error:
                log.debug("Sentinel %s: %s", sentinel, error)
            await backoff.sleep()

    async def _listen(self, sentinel: Endpoint, backoff: Backoff) -> None:
        def heard(message: list[Any]) -> None:
            words = [text_of(part) for part in message]
            primary = _announced(self._service, words)
            if primary is not None:
                self._switched(sentinel, primary, early=words[1] in _EARLY)

        loop = asyncio.get_running_loop()
        link = await dial(sentinel, self._sentinel_greeting, on_push=heard)
        try:
            # Asked first: what was switched before the subscription would never be heard.
            primary = await self._master(link)
            for channel in _WATCHED:
                await link.ask(("SUBSCRIBE", channel), loop.time() + 2 * _ASK_S)
            backoff.reset()
            self._switched(sentinel, primary, early=False)
            await while_it_answers(link, _PING_S, 2 * _ASK_S)
        finally:
            link.abort("no longer listening")

    def _switched(self, sentinel: Endpoint, primary: Endpoint, *, early: bool) -> None:
        """All Sentinels tell each switch, at different times: the first one counts.

        So one that lags behind may still name what another has deposed since: only the leader of
        a switch, who tells it `early`, can bring back a primary that was left just now.
        """
        if self._primary is None or self._primary == primary:
            return
        now = asyncio.get_running_loop().time()
        if not early and now - self._left.get(primary, -math.inf) < _STALE_S:
            return
        self._left[self._primary] = now
        self._prefer(sentinel)
        reason = f"Sentinel {sentinel} says that {primary} takes over"
        log.warning("%s: %s", self._service, reason)
        self._primary = primary
        self._promised_until = now + _PROMISE_S
        if self._on_switch is not None:
            self._on_switch(reason)


def _announced(service: str, message: list[str]) -> Endpoint | None:
    """The new primary of our service, if that is what the message is about."""
    words = message[-1].split(" ")
    if message[1] == "+switch-master" and words[0] == service:
        return Endpoint(words[3], int(words[4]))
    if message[1] in _EARLY and service in words[4:]:
        return Endpoint(words[2], int(words[3]))
    return None


async def _want_primary(link: Link, endpoint: Endpoint) -> None:
    reply = await link.ask(("ROLE",), asyncio.get_running_loop().time() + 2 * _ASK_S)
    if is_error(reply):
        error = error_of(reply)
        raise error if isinstance(error, Unavailable) else ConfigError(str(error))
    if reply[0] != b"master":
        raise Unavailable(
            f"{endpoint} is a {text_of(reply[0])}, the Sentinels have not settled yet",
            code="READONLY",
        )
