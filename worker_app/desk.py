"""Runs handlers: what runs now, what has ended and waits to be published, what goes back.

Each task that is started is reported exactly once, as an outcome or as handed back. Its slot is
free when its handler has really ended, which for a thread can be later.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from pyclient.codec import INLINE_BYTES, ONCE, decode, encode
from pyclient.model import Leased

from .bodies import LargeBodies
from .context import Context, Retry
from .failures import TEXT_BYTES, describe, retry_ms
from .held import NEVER, Held, Stop
from .pools import Pools
from .routes import Route

log = logging.getLogger("worker_app.desk")

UNKNOWN_ROUTE_MS = 1000
GRACE_S = 5.0
LAST = 2  # this attempt counts, and whatever the submission allows it was the last
_SECOND_LOOK_S = 0.1

Ended = tuple[str, int, str, bytes]
Back = tuple[str, int, int, int, str]


class Desk:
    """The tasks of one process. Belongs to its event loop.

    `changed` is called when something was reported or a slot came free; `on_stuck` when a handler
    went on for `grace` seconds after its deadline.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        bodies: LargeBodies,
        pools: Pools,
        *,
        concurrency: int,
        state: Any,
        grace: float = GRACE_S,
        changed: Callable[[], None],
        on_stuck: Callable[[Held], None],
    ) -> None:
        self._routes = routes
        self._bodies = bodies
        self._pools = pools
        self._concurrency = concurrency
        self._state = state
        self._grace = grace
        self._changed = changed
        self._on_stuck = on_stuck
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self.running: dict[int, Held] = {}
        self.leases: dict[int, Held] = {}
        self.ended: list[Ended] = []
        self.back: list[Back] = []

    @property
    def free(self) -> int:
        """How many more tasks may be started."""
        return self._concurrency - len(self.running)

    @property
    def busy(self) -> bool:
        """Whether a handler runs that is worth waiting for."""
        return any(not held.stuck for held in self.running.values())

    def start(self, tasks: Iterable[Leased], sent_at: float) -> None:
        """Run what a reply brought; `sent_at` is when it was asked for, on the monotonic clock."""
        for leased in tasks:
            route = self._routes.get(leased.route)
            if route is None:
                log.warning("route %s is unknown here: handed back", leased.route)
                self.give_back(leased, UNKNOWN_ROUTE_MS, "no worker knew its route")
                continue
            held = Held(leased, route, sent_at)
            self.leases[leased.fence] = held
            if leased.attempt > route.attempts:
                text = f"attempt {leased.attempt} of {route.attempts}: its workers were lost"
                self._hand_back(held, 0, text, counted=LAST)
                continue
            self.running[leased.fence] = held
            if held.look < self._timer_at:
                self._arm(held.look)
            held.task = _begin(self._drive(held), self._loop)

    def give_back(self, leased: Leased, delay_ms: int = 0, reason: str = "") -> None:
        """Hand back what was not started; the attempt does not count."""
        self.back.append((leased.id, leased.fence, delay_ms, 0, reason))

    def settle(self, fences: Iterable[int]) -> None:
        """Forget leases that a publish or retry has ended."""
        for fence in fences:
            self.leases.pop(fence, None)

    def stop(self, held: Held, why: Stop) -> None:
        """Have a handler stopped: a coroutine is cancelled, the result of a thread dropped."""
        if held.stop or held.fence not in self.running:
            return
        held.stop = why
        if why == "lost":
            held.reported = True
            self.leases.pop(held.fence, None)
        if not held.entered:  # cancelled now, its coroutine would never run
            self._stopped(held)
            self.running.pop(held.fence, None)
            self._changed()
        if held.future is not None:
            held.future.cancel()
            if why == "late":
                self._stopped(held)
        elif held.task is not None:
            held.task.cancel()

    def stop_where(self, why: Stop, *, called: bool | None = None) -> None:
        """Stop all, or only those whose handler was (or was not) called yet."""
        for held in list(self.running.values()):
            if called is None or held.called is called:
                self.stop(held, why)

    def abandon(self) -> None:
        """Report what does not end; its handlers are waited for no longer."""
        for held in self.running.values():
            held.stop = held.stop or "stopped"
            held.stuck = True
            self._stopped(held)

    def close(self) -> None:
        """No more looks at deadlines."""
        if self._timer is not None:
            self._timer.cancel()
        for held in self.running.values():
            if held.task is not None:
                held.task.cancel()

    # -- one task ---------------------------------------------------------------------------

    async def _drive(self, held: Held) -> None:
        held.entered = True
        try:
            answer = await self._run(held)
            if len(answer) > INLINE_BYTES:
                held.look = NEVER  # the work is done, only Redis is waited for
                answer = await self._bodies.put_answer(held.leased.id, answer, held.left_s())
        except asyncio.CancelledError as error:
            if held.stop:
                self._stopped(held)
            else:
                self._raised(held, error)
        except BaseException as error:  # sys.exit and the like end a task, not the worker
            self._raised(held, error)
        else:
            if held.stop:
                self._stopped(held)
            else:
                self._report(held, "done", answer)
        finally:
            self.running.pop(held.leased.fence, None)
            self._changed()

    async def _run(self, held: Held) -> bytes:
        """Call the handler; returns the encoded answer."""
        leased, route = held.leased, held.route
        body = leased.body
        if body[:1] in (b"M", b"R"):
            once = body[1:] == ONCE
            body = await self._bodies.get_request(leased.id, body)
            if once:
                held.called = True  # nobody else can call it any more
                self._bodies.drop_request(leased.id)
        if route.kind == "process":
            return await self._pools.run_in_process(held, body)
        arguments: tuple[Any, ...] = (decode(body),)
        if route.with_context:
            arguments += (self._context(held),)
        if route.kind == "async":
            held.called = True
            result = await route.handler(*arguments)
        else:
            result = await self._pools.run_in_thread(held, arguments)
            if inspect.isawaitable(result):  # a plain wrapper around an async function
                result = await result
        if route.raw and isinstance(result, bytes | bytearray):
            return b"r" + result
        return encode(result, what="result")

    def _context(self, held: Held) -> Context:
        leased = held.leased
        return Context(
            leased.id,
            leased.route,
            leased.level,
            leased.tenant,
            leased.attempt,
            leased.fence,
            held.deadline,
            self._state,
        )

    # -- reports ----------------------------------------------------------------------------

    def _report(self, held: Held, word: str, body: bytes) -> None:
        if held.reported:
            return
        held.reported = True
        leased = held.leased
        self.ended.append((leased.id, leased.fence, word, body))
        self._changed()

    def _hand_back(self, held: Held, delay_ms: int, reason: str, *, counted: int) -> None:
        if held.reported:
            return
        held.reported = True
        leased = held.leased
        self.back.append((leased.id, leased.fence, delay_ms, counted, reason))
        self._changed()

    def _stopped(self, held: Held) -> None:
        """Its handler was stopped, or is about to be."""
        if held.stop == "late":
            if not held.reported:
                log.warning("route %s: timed out after %g s", held.route.name, held.limit)
            self._report(held, "failed", f"timed out after {held.limit:g} s".encode())
        elif held.stop == "stopped":
            self._hand_back(held, 0, "its worker stopped", counted=int(held.called))
        else:  # of a cancelled task the script makes `cancelled`; of a lost one nothing is heard
            self._report(held, "failed", b"cancelled")

    def _raised(self, held: Held, error: BaseException) -> None:
        if held.stop:
            self._stopped(held)
            return
        text = describe(error)
        if isinstance(error, (Retry, *held.route.retry_on)):
            delay_ms = retry_ms(held.leased.attempt, held.route.attempts, error)
            log.info("route %s: again in %d ms: %s", held.route.name, delay_ms, text)
            last = held.leased.attempt >= held.route.attempts
            self._hand_back(held, delay_ms, text, counted=LAST if last else 1)
            return
        log.warning("route %s: %s", held.route.name, text, exc_info=error)
        self._report(held, "failed", text.encode()[:TEXT_BYTES])

    # -- deadlines --------------------------------------------------------------------------

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._watch)

    def _watch(self) -> None:
        """One timer for all: each task only lowers it, and most are gone before it fires."""
        self._timer, self._timer_at = None, NEVER
        now, earliest = time.monotonic(), NEVER
        for held in list(self.running.values()):
            if held.look <= now:
                self._overdue(held, now)
            earliest = min(earliest, held.look)
        if earliest != NEVER:
            self._arm(earliest)

    def _overdue(self, held: Held, now: float) -> None:
        if now >= held.deadline + self._grace:
            held.look, held.stuck = NEVER, True
            self._on_stuck(held)
            return
        if not held.stop:
            self.stop(held, "late")
            if not held.reported:
                held.look = now + _SECOND_LOOK_S
                return
        else:
            self._stopped(held)  # it ignores cancellation: whoever waits need not
        held.look = held.deadline + self._grace


def _begin(coro: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
    """A task that runs at once as far as it gets, where Python can do that."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coro, loop=loop, eager_start=True)
    return loop.create_task(coro)
