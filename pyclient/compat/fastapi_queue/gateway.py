"""What the managers of one event loop share: a queue, and places in its line.

A manager is made for each request; connections, inbox and batches are made once, at the first of
them, and closed with the loop (a task that is cancelled when the loop ends sees to that) or by
`shutdown`. No wait for Redis takes longer than about a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pyclient.connection import parse_address
from pyclient.entry import closed
from pyclient.errors import PeakError, Refused, TaskError, Unavailable
from pyclient.joint import outcome_of
from pyclient.line import Line
from pyclient.placing import Place, Places

from .settings import CompatSettings

log = logging.getLogger("pyclient.compat.fastapi_queue")
T = TypeVar("T")

PATIENCE_S = 0.9
_RETURN_S = 1.5
_LOOK_S = 0.05
_LOG_S = 5.0

_gateways: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Gateway]] = WeakKeyDictionary()


class UnknownRouteError(Refused):
    """No node has ever made this route known."""


class Gateway:
    """The submitting side of one event loop towards one Redis."""

    def __init__(self, address: str) -> None:
        settings = CompatSettings.read()
        self._address = address
        parse_address(address)  # imports what is slow to import, before a clock runs
        self._engine = settings.engine(address)
        self._places: Places | None = None
        self._opening: asyncio.Task[Line] | None = None
        self._known: set[str] = set()
        self._guard = asyncio.get_running_loop().create_task(self._close_with_loop())
        self._logged = 0.0
        self._late: set[asyncio.Task[Any]] = set()

    async def line(self) -> Line:
        """Connect if need be. Raises Unavailable, ConfigError."""
        line = self._engine.ready("pull")
        if line is not None:
            return line
        # One attempt for all that ask meanwhile: each on its own would wait for those before it.
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._engine.line("pull"))
            self._opening.add_done_callback(_undone(None))
        return await outcome_of(self._opening, closed)

    async def enter(self, route: str) -> Place:
        """A place in a route that is known. Raises Refused, Unavailable within a second.

        A route that was known here and no longer is means that Redis came back empty: nodes
        announce it again, which is worth a moment.
        """
        place = await self.soon(self._enter(route), undo=self._leave)
        until = time.monotonic() + _RETURN_S
        while place is None and route in self._known and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)
            if await self.soon(self._knows(route)):
                place = await self.soon(self._enter(route), undo=self._leave)
        if place is None:
            raise UnknownRouteError(f"no node has made the route {route} known")
        self._known.add(route)
        return place

    async def leave(self, places: Iterable[Place]) -> None:
        """Give places back; goes on in the background where that takes longer than a second, or
        where the caller is cancelled."""
        if self._places is not None:
            leaving = {self._places.leave(place) for place in places}
            if leaving:
                await asyncio.wait(leaving, timeout=PATIENCE_S)

    async def soon(
        self,
        work: Coroutine[Any, Any, T],
        *,
        within: float = PATIENCE_S,
        undo: Callable[[T], object] | None = None,
    ) -> T:
        """The result of `work`, or Unavailable after `within` seconds.

        It is not cancelled then, nor when the caller is, since what it has sent may happen:
        `undo` is called with a result that comes too late.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._late.add(task)
        try:
            done, _ = await asyncio.wait({task}, timeout=within)
        except asyncio.CancelledError:
            task.add_done_callback(_undone(undo))
            raise
        finally:
            task.add_done_callback(self._late.discard)
        if not done:
            task.add_done_callback(_undone(undo))
            raise Unavailable(f"no answer of Redis within {within:g} s", unknown=True)
        return task.result()

    def note(self, error: PeakError) -> None:
        """Log what went wrong, at a bounded rate: in an outage every request meets it."""
        now = time.monotonic()
        if isinstance(error, Refused | TaskError) or now - self._logged < _LOG_S:
            log.debug("%s", error)
        else:
            self._logged = now
            log.warning("the queue can't serve: %s", error)

    async def aclose(self) -> None:
        """Close the connections; whoever waits is told."""
        if self._places is not None:
            await self._places.aclose()
        left = [*self._late, *([self._opening] if self._opening is not None else ())]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._engine.aclose()
        if asyncio.current_task() is not self._guard:
            self._guard.cancel()
            await asyncio.wait({self._guard})

    async def _enter(self, route: str) -> Place | None:
        """A place, or None where the route is unknown; both are asked at once."""
        line = await self.line()
        if self._places is None:
            self._places = Places(line)
        places = self._places
        known, place = await asyncio.gather(
            self._knows(route), places.take(route), return_exceptions=True
        )
        if known is True and isinstance(place, Place):
            return place
        if isinstance(place, Place):
            places.leave(place)
        if isinstance(known, BaseException):
            raise known
        if known and isinstance(place, BaseException):
            raise place
        return None

    async def _knows(self, route: str) -> bool:
        keys = self._engine.keys["pull"]
        conn = await self._engine.connection()
        return await conn.command(b"HGET", keys.settings(), keys.room_field(route)) is not None

    def _leave(self, place: Place | None) -> None:
        if place is not None and self._places is not None:
            self._places.leave(place)

    async def _close_with_loop(self) -> None:
        closing = False
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            closing = self._gone()
            raise
        finally:
            if closing:
                await self.aclose()

    def _gone(self) -> bool:
        """Out of the table; whether it was in it still."""
        gateways = _gateways.get(asyncio.get_running_loop(), {})
        return gateways.pop(self._address, None) is not None


def gateway_of(address: str) -> Gateway:
    """The gateway of the running loop to that Redis. Raises ConfigError for wrong settings."""
    gateways = _gateways.setdefault(asyncio.get_running_loop(), {})
    if address not in gateways:
        gateways[address] = Gateway(address)
    return gateways[address]


async def shutdown() -> None:
    """Close what managers of the running loop have opened; the end of the loop does it too."""
    gateways = _gateways.pop(asyncio.get_running_loop(), {})
    for gateway in gateways.values():
        await gateway.aclose()


def _undone(undo: Callable[[Any], object] | None) -> Callable[[asyncio.Task[Any]], None]:
    def done(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is None and undo is not None:
            undo(task.result())

    return done
