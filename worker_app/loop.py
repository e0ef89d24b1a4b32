"""The conversation with the queue: claim, publish, hand back; one numbered call at a time.

While a call is in flight what ends gathers; when it returns, all goes in the next, which also
brings the next tasks. Nothing is polled: where there is nothing to say, it waits to be poked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from pyclient.commands import Commands, OldCallError
from pyclient.connection import Backoff, Connection
from pyclient.errors import ConfigError, PeakError, ScriptError, Unavailable
from pyclient.model import Claimed, Leased, Published
from pyclient.numbered import NumberedCaller
from pyclient.sweeper import Sweeper

from .announce import Announcer
from .desk import Desk, Ended
from .hints import Hints
from .standing import Standing
from .turns import Turn

log = logging.getLogger("worker_app.loop")
T = TypeVar("T")

BATCH = 64
BATCH_BYTES = 256 << 10
_PATIENCE_S = 300.0


class ClaimLoop:
    """Serves one queue until it is told to drain and everything is said."""

    def __init__(
        self,
        commands: Commands,
        caller: NumberedCaller,
        desk: Desk,
        hints: Hints,
        announcer: Announcer,
        share: Turn,
        *,
        max_level: int,
        drop_answer: Callable[[str], None],
    ) -> None:
        self._commands = commands
        self._caller = caller
        self._desk = desk
        self._hints = hints
        self._announcer = announcer
        self._share = share
        share.poke, share.wants = self.poke, self._wants
        self._max_level = max_level
        self._drop_answer = drop_answer
        self._waiter: asyncio.Future[None] | None = None
        self._want = True
        self._useless = False
        self.standing = Standing()
        self._failing = Backoff(base=0.1, cap=1.0)
        self.sweeper = Sweeper(commands.sweep)
        self.draining = False
        self.recheck = False
        self.progress = time.monotonic()

    def poke(self) -> None:
        """Something changed."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def hint(self) -> None:
        """Something may wait in the line."""
        self._want = True
        if self.draining:  # it was another's to hear
            self.sweeper.soon()
        elif self._share.free <= 0:
            self._useless = True
        self.poke()

    def listen(self, conn: Connection, channel: bytes) -> Coroutine[Any, Any, None]:
        """From now on claims may stand; to be run beside `serve`."""
        return self.standing.listen(conn, channel, self._given, on_ready=self.hint)

    def drain(self) -> None:
        """Claim no more; end once nothing is left to say."""
        self.draining = True
        self.poke()

    async def serve(self) -> None:
        """Raises ConfigError where the queue can't be served by any worker."""
        while True:
            self.progress = self.standing.beat()
            try:
                if not await self._turn():
                    return
            except OldCallError as error:
                log.error("%s", error)
            except Unavailable as error:
                log.warning("Redis: %s", error)
                await self._failing.sleep()
            except ScriptError as error:
                if error.code == "BADMODE":
                    raise ConfigError(f"{error}: workers serve queues of mode pull") from None
                log.error("the queue refuses this worker: %s", error)
                await self._failing.sleep()

    async def _turn(self) -> bool:
        desk = self._desk
        if desk.back:
            await self._hand_back()
        elif desk.ended:
            await self._publish()
        elif self.draining:
            if self.standing.maybe:
                await self.standing.withdraw(self._commands, self._caller.id, self._max_level)
            elif not desk.busy:
                return False
            else:
                await self._wait()
        elif self.recheck:
            self._share.calls()
            await self._announcer.check()
            self._share.heard()
            self.recheck = False
        elif self._useless and self._share.free <= 0:
            await self._pass_on()
        elif self._wants() and self._share.free > 0:
            await self._claim()
        else:
            await self._wait()
        return True

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._share.heard()
        if self._share.free > 0 and not self.draining:
            self._hints.idle()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._hints.working()

    def _wants(self) -> bool:
        """Whether a slot would be of use: something may wait here, and nobody listens for it."""
        if self._share.stale and not self._hints.waiting:
            return not self.draining
        return self._want and not self.draining

    async def _pass_on(self) -> None:
        """A hint came when it was of no use: a claim of nothing has the next one told."""
        self._useless = False
        self._share.calls()
        reply = await self._commands.claim(self._caller.id, 0, 0, self._max_level)
        self._share.heard()
        self.sweeper.note(reply.next_ms)

    async def _claim(self) -> None:
        limit, self._useless = min(BATCH, self._share.free), False
        stand, caller = self.standing.asks(), self._caller.id
        self._share.ask(limit)
        try:
            reply, sent_at = await self._numbered(
                lambda number: self._commands.claim(
                    caller, number, limit, self._max_level, stand=stand
                ),
                limit,
            )
            self._took(reply, limit, sent_at)
            if stand:
                self.standing.answered(limit, reply)
        finally:
            self._share.answered()

    async def _publish(self) -> None:
        desk = self._desk
        batch = _first(desk.ended)
        kept = self.standing.slots
        limit = 0 if self.draining else min(BATCH, max(0, self._share.free - kept))
        stand = limit > 0 and not kept and self.standing.asks()
        caller = self._caller.id
        self._share.ask(limit)
        try:
            reply, sent_at = await self._numbered(
                lambda number: self._commands.publish(
                    caller, number, limit, self._max_level, batch, stand=stand
                )
            )
            self._published(batch, reply)
            self._took(reply, limit, sent_at)
            if stand:
                self.standing.answered(limit, reply)
        except ScriptError:
            await self._publish_singly(batch)
        finally:
            self._share.answered()

    async def _publish_singly(self, batch: Sequence[Ended]) -> None:
        """A refused batch: the outcome that is at fault must not take the others along."""
        desk, caller = self._desk, self._caller.id
        del desk.ended[: len(batch)]
        for number_of, outcome in enumerate(batch):
            try:
                reply, _ = await self._numbered(
                    lambda number, one=outcome: self._commands.publish(  # type: ignore[misc]
                        caller, number, 0, self._max_level, [one]
                    )
                )
            except ScriptError as error:
                log.error("task %s: its outcome was refused: %s", outcome[0], error)
                desk.settle([outcome[1]])
            except PeakError:
                desk.ended[:0] = batch[number_of:]
                raise
            else:
                desk.settle([outcome[1]])
                self.sweeper.note(reply.next_ms)

    async def _hand_back(self) -> None:
        desk = self._desk
        batch = desk.back[:BATCH]
        caller = self._caller.id
        reply, _ = await self._numbered(lambda number: self._commands.retry(caller, number, batch))
        del desk.back[: len(batch)]
        desk.settle(lease[1] for lease in batch)
        self.sweeper.note(reply.next_ms)

    async def _numbered(
        self, send: Callable[[int], Awaitable[T]], limit: int = 0
    ) -> tuple[T, float]:
        """The reply, and when it was asked for: leases run from then on, not from its arrival."""
        sent_at = 0.0

        async def send_now(number: int) -> T:
            nonlocal sent_at
            self.progress = sent_at = time.monotonic()
            return await send(number)

        self._share.calls()
        wanted = self._want
        if limit:  # a hint that comes from now on may be of what this call does not see
            self._want = False
        try:
            reply = await self._caller.run(send_now, patience=_PATIENCE_S)
        except BaseException:
            self._want = self._want or wanted
            raise
        self._share.heard()
        self._failing.reset()
        return reply, sent_at

    def _published(self, batch: Sequence[Ended], reply: Published) -> None:
        desk = self._desk
        del desk.ended[: len(batch)]
        desk.settle(outcome[1] for outcome in batch)
        for outcome, word in zip(batch, reply.words, strict=True):
            if word != "OK":
                log.debug("task %s: its outcome came too late: %s", outcome[0], word)
                if outcome[3][:1] in (b"M", b"R") and outcome[2] == "done":
                    self._drop_answer(outcome[0])

    def _took(self, reply: Claimed | Published, limit: int, sent_at: float) -> None:
        self.sweeper.note(reply.next_ms)
        if limit and (reply.more or len(reply.tasks) >= limit):
            self._want = True
        self._start(reply.tasks, sent_at)

    def _given(self, tasks: Sequence[Leased], *, late: bool) -> None:
        self._start(tasks, time.monotonic(), late=late)
        self.poke()

    def _start(self, tasks: Sequence[Leased], sent_at: float, *, late: bool = False) -> None:
        if self.draining:
            for leased in tasks:
                self._desk.give_back(leased, 0, "its worker stops")
        elif tasks:
            self._announcer.leased(len(tasks))
            fits = 0 if late else self._share.fits(len(tasks))
            for leased in tasks[fits:]:
                self._desk.give_back(leased, 0, "its worker was not free for it")
            self._desk.start(tasks[:fits], sent_at)


def _first(ended: list[Ended]) -> list[Ended]:
    """What fits into one call; at least one."""
    count = size = 0
    for outcome in ended[:BATCH]:
        size += len(outcome[3])
        if count and size > BATCH_BYTES:
            break
        count += 1
    return ended[:count]
