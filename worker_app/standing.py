"""A claim that stands: slots for which Redis may lease to this worker what comes next.

A worker that got less than it asked for lets the rest of its claim stand, and hears of what is
leased to it on a channel of its own: of two calls and a wait for a hint nothing is left. What
stands in Redis is its own affair, this is what the worker believes of it: kept are so many slots.
A wrong belief costs a call more or a task handed back, never a slot too many in use.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from pyclient.commands import Commands
from pyclient.connection import Connection, Subscription
from pyclient.errors import PeakError
from pyclient.model import Claimed, Leased, Published

from .routes import Route

log = logging.getLogger("worker_app.standing")

_WITHDRAW_S = 1.0
_STILL_S = 1.0


class OnGiven(Protocol):
    """What takes the tasks; `late` says that their leases may have ended already."""

    def __call__(self, tasks: Sequence[Leased], *, late: bool) -> None: ...


class Standing:
    """`slots` are kept for what may be given, `maybe` says that a claim may stand, believed or not.
    Without a subscription nothing ever stands."""

    def __init__(self) -> None:
        self.slots = 0
        self.maybe = False
        self._subscription: Subscription | None = None
        self._given = self._given_before = 0
        self._beat, self._still_until = time.monotonic(), 0.0

    def listen(
        self,
        conn: Connection,
        channel: bytes,
        on_given: OnGiven,
        *,
        on_ready: Callable[[], None],
    ) -> Coroutine[Any, Any, None]:
        """Hear what is given; `on_ready` is told whenever that begins."""

        def heard(message: bytes) -> None:
            tasks = given_of(message)
            self._given += 1
            self.slots = 0  # each claim is answered once at most
            on_given(tasks, late=self.beat() < self._still_until + _STILL_S)

        def changed() -> None:
            self.slots = 0
            if subscription.active:
                on_ready()

        subscription = conn.subscription(channel, on_message=heard, on_change=changed)
        self._subscription = subscription
        return subscription.listen()

    def beat(self) -> float:
        """The time; asked for a few times a second, so that it is known if this process stood
        still: what lies in its sockets then may have lain there for long."""
        now = time.monotonic()
        if now - self._beat > _STILL_S:
            self._still_until = now
        self._beat = now
        return now

    def asks(self) -> bool:
        """A claim is made now: whether it may stand."""
        self._given_before = self._given
        active = self._subscription is not None and self._subscription.active
        self.maybe = self.maybe or active
        return active

    def answered(self, limit: int, reply: Claimed | Published) -> None:
        """It got less than `limit`; if something was given meanwhile, it stands no longer."""
        overtaken = self._given != self._given_before
        self.slots = 0 if overtaken or reply.more else limit - len(reply.tasks)

    async def withdraw(self, commands: Commands, caller: str, max_level: int) -> None:
        """Let no claim stand; what was given before has been heard of then."""
        self.slots, self.maybe = 0, False
        try:
            async with asyncio.timeout(_WITHDRAW_S):
                await commands.claim(caller, 0, 0, max_level)
                if self._subscription is not None:
                    await self._subscription.settle()
        except (PeakError, TimeoutError) as error:
            log.warning("a claim goes on standing until it is too old: %s", error)


def may_stand(routes: Iterable[Route], conn: Connection, *, sharded: bool) -> bool:
    """Not where slots are shared between shards or answers wait for replicas; nor where a task may
    begin but once, since it can be lost on its way."""
    return not sharded and not conn.replicas and all(route.attempts > 1 for route in routes)


def given_of(message: bytes) -> list[Leased]:
    """The tasks of a message: their fences rise from the first line on, bodies come last."""
    head, _, bodies = message.partition(b"\n\n")
    first, *lines = head.decode().split("\n")
    tasks, at = [], 0
    for fence, line in enumerate(lines, int(first)):
        task_id, run_ms, level, route, tenant, size = line.split(" ")
        body = bodies[at : at + int(size)]
        at += int(size)
        tasks.append(Leased(task_id, fence, 1, int(run_ms), int(level), route, tenant, body))
    if at != len(bodies):
        raise ValueError(f"expected bodies of {at} bytes, {len(bodies)} came")
    return tasks
