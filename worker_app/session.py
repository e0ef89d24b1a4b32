"""One run of a worker: what is opened, who watches whom, and how it ends.

The end has four steps, each with its own bound: claim no more and hand back what has not begun;
let run what runs (`drain_timeout`); stop it and hand it back; leave what ignores that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from pyclient.codec import MAX_BYTES
from pyclient.commands import Commands, scripts
from pyclient.connection import Backoff, Connection
from pyclient.errors import PeakError, Unavailable
from pyclient.keeper import Keeper
from pyclient.keys import Keys
from pyclient.numbered import NumberedCaller

from .announce import Announcer, Shard
from .bodies import LargeBodies
from .desk import GRACE_S, Desk
from .held import Held
from .hints import LONG_S, Hints
from .leases import LeaseJob
from .loop import ClaimLoop
from .pools import Pools
from .routes import Route
from .standing import may_stand
from .turns import Turn, Turns

log = logging.getLogger("worker_app.session")

TICK_S = 0.2
RECHECK_S = 30.0
STOP_S = 1.0
FLUSH_S = 3.0
BLOCKED_S = 2.0
STALL_S = 30.0


class HandlerStuck(Exception):
    """A handler went on past its deadline: this process is to be replaced by a new one."""


class Session:
    """Everything that lives while a worker runs."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        routes: Mapping[str, Route],
        *,
        state: Any,
        concurrency: int,
        processes: int,
        max_level: int,
        drain_timeout: float,
        grace: float = GRACE_S,
        max_payload: int = MAX_BYTES,
        pools: Pools | None = None,
        turns: Turns | None = None,
        shard: Shard | None = None,
    ) -> None:
        self._drain_timeout, self._grace, self._max_level = drain_timeout, grace, max_level
        self._keys = keys
        self._conn = Connection(url, client_name="peak-worker")
        self._keeper = Keeper(url)
        self._own_pools = pools is None
        self._pools = pools or Pools(threads=concurrency, processes=processes)
        self._caller = NumberedCaller()
        self._stuck: Held | None = None
        self.stops, self._over = 0, False
        self._timers: list[asyncio.TimerHandle] = []
        self._ticker: asyncio.TimerHandle | None = None
        self._side: set[asyncio.Task[None]] = set()
        self._serving: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._checked_at = time.monotonic()
        self.alive_at = time.monotonic()
        self._bodies = LargeBodies(self._conn, keys, max_payload)
        self.desk = self._make_desk(routes, concurrency, state)
        self._may_stand = may_stand(routes.values(), self._conn, sharded=turns is not None)
        self._share = Turn(self.desk, turns)
        self._commands = Commands(self._conn, scripts(), keys)
        self._announcer = Announcer(self._commands, routes.values(), shard, self._conn)
        self._hints: Hints | None = None
        self.loop = self._make_loop()

    def _make_desk(self, routes: Mapping[str, Route], concurrency: int, state: Any) -> Desk:
        return Desk(
            routes,
            self._bodies,
            self._pools,
            concurrency=concurrency,
            state=state,
            grace=self._grace,
            changed=lambda: self._share.changed(),
            on_stuck=self._on_stuck,
        )

    def _make_loop(self) -> ClaimLoop:
        self._hints = Hints(
            self._conn,
            self._keys.told(self._caller.id),
            self._keys.wake(self._max_level),
            on_hint=lambda: self.loop.hint(),
            on_told=lambda fence: self._word(fence, "CANCELLED"),
        )
        return ClaimLoop(
            self._commands,
            self._caller,
            self.desk,
            self._hints,
            self._announcer,
            self._share,
            max_level=self._max_level,
            drop_answer=self._drop_answer,
        )

    async def run(self) -> None:
        """Serve until stopped. Raises HandlerStuck, or ConfigError for what no waiting mends."""
        assert self._hints is not None
        job: LeaseJob | None = None
        self._conn.on_reconnect(self._reconnected)
        self._tick()
        try:
            lease_s = await self._open()
            if lease_s is None:
                return
            job = LeaseJob(
                self.desk.leases,
                self._caller.id,
                scripts(),
                self._keys,
                lease_s=lease_s,
                on_word=self._word,
            )
            self._keeper.add(job)
            self._serving = asyncio.create_task(self.loop.serve())
            others = [self._hints.listen(), self._hints.listen_told()]
            if self._may_stand:
                others.append(self.loop.listen(self._conn, self._keys.given(self._caller.id)))
            await self._attend(*others)
        finally:
            self._over = True
            for timer in (*self._timers, self._ticker):
                if timer is not None:
                    timer.cancel()
            await self._close()
        if self._stuck is not None:
            route = self._stuck.route.name
            raise HandlerStuck(f"route {route}: its handler went on past its deadline")

    def stop(self) -> None:
        """The first time: finish what runs. Again: hand back everything at once."""
        self.stops += 1
        if self._over:  # other shards of this worker are still at work
            return
        if self.stops == 1:
            log.info("stopping: %d running", len(self.desk.running))
            self.loop.drain()
            self._opened.set()
            self.desk.stop_where("stopped", called=False)
            self._after(self._drain_timeout, self._stop_now)
        elif self.stops == 2:
            self._stop_now()

    def ailment(self, now: float) -> tuple[str, bool]:
        """What is wrong, if anything, and whether a handler is to blame; for other threads."""
        blocked = now - self.alive_at
        if blocked > BLOCKED_S:
            running = list(self.desk.running.values())
            if any(now > held.deadline + self._grace + BLOCKED_S for held in running):
                return (
                    f"a handler blocks the event loop for {blocked:.0f} s, past its deadline",
                    True,
                )
            if not running and blocked > STALL_S:
                return f"the event loop is blocked for {blocked:.0f} s", False
        elif self._serving is not None and now - self.loop.progress > STALL_S:
            return f"the claim loop has not moved for {STALL_S:.0f} s", False
        return "", False

    # -- inside -----------------------------------------------------------------------------

    async def _open(self) -> float | None:
        """Connect, however long that takes; the lease in seconds, None if stopped meanwhile."""
        backoff = Backoff(base=0.2, cap=2.0)
        while not self.stops:
            try:
                await self._conn.open()
                return await self._announcer.check()
            except Unavailable as error:
                log.warning("waiting for Redis: %s", error)
                try:
                    async with asyncio.timeout(backoff.next()):
                        await self._opened.wait()
                except TimeoutError:
                    pass
        return None

    async def _attend(self, *others: Coroutine[Any, Any, None]) -> None:
        """Until the claim loop has ended; nothing else may end before it."""
        assert self._serving is not None
        tasks = [self._serving, *(asyncio.create_task(one) for one in others)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                if not task.done():
                    task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _close(self) -> None:
        self.desk.close()
        for task in self._side:
            task.cancel()
        await asyncio.gather(*self._side, return_exceptions=True)
        await asyncio.to_thread(self._keeper.stop)
        left = [held.task for held in self.desk.running.values() if held.task is not None]
        if left:
            await asyncio.wait(left, timeout=STOP_S)
        if self._own_pools:
            await self._pools.aclose()
        await self.loop.sweeper.aclose()
        await self._conn.aclose()

    def _stop_now(self) -> None:
        self.stops = 2
        self.loop.drain()
        self.desk.stop_where("stopped")
        self._after(STOP_S, self._abandon)

    def _abandon(self) -> None:
        self.desk.abandon()
        self.loop.poke()
        self._after(FLUSH_S, self._give_up)

    def _give_up(self) -> None:
        log.warning("Redis can't be told in time: leases of this worker end by themselves")
        if self._serving is not None:
            self._serving.cancel()

    def _after(self, seconds: float, call: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, call))

    def _on_stuck(self, held: Held) -> None:
        log.error(
            "route %s: its handler goes on after its deadline; this process ends and is replaced",
            held.route.name,
        )
        self._stuck = self._stuck or held
        if not self.stops:
            self.stop()
        self.loop.poke()

    def _word(self, fence: int, word: str) -> None:
        """What a renewal or the list of cancels said of a lease."""
        held = self.desk.leases.get(fence)
        if held is not None:
            log.info("route %s: task %s is %s", held.route.name, held.leased.id, word.lower())
            self.desk.stop(held, "lost" if word == "LOST" else "told")

    def _reconnected(self) -> None:
        self.loop.recheck = True
        self.loop.hint()

    def _tick(self) -> None:
        """The pulse: proof of life, and what has to be looked at now and then."""
        assert self._hints is not None
        now = self.alive_at = time.monotonic()
        oldest = next(iter(self.desk.running.values()), None)
        if oldest is not None and now - oldest.since > LONG_S:
            self._hints.long()
        if now - self._checked_at > RECHECK_S:
            self._checked_at = now
            self.loop.recheck = True
        self.loop.poke()
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _drop_answer(self, task_id: str) -> None:
        async def drop() -> None:
            try:
                await self._bodies.drop_answer(task_id)
            except PeakError as error:
                log.debug("an answer stays until its time is over: %s", error)

        task = asyncio.create_task(drop())
        self._side.add(task)
        task.add_done_callback(self._side.discard)
