"""Hold mode: the gateway waits for its turn and calls the target itself, streaming both ways.

No worker takes part and no body goes through Redis. A turn that is lost while the target answers
(Redis gone for longer than a lease) ends the exchange: the slot may be another's by then.
"""

from __future__ import annotations

import asyncio
import time

from pyclient.errors import PeakError, Unavailable
from pyclient.http.errors import UpstreamError
from pyclient.positions import Spot
from pyclient.slot import Slot

from .asgi import Receive, Scope, Send
from .bodies import ClientGone, RefusedBody, read_ahead
from .gone import WhileClientStays
from .guard import Checked
from .problems import STOPPING, Problem, of_queue, of_upstream, own_server, send_problem
from .relay import late_headers, make_request, relay, timing_headers
from .shared import ROUTE, Shared
from .tunnel import open_tunnel

_AHEAD = 64 * 1024


class Held:
    """The line in hold mode; answers the request and returns status and code."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        target: bytes,
        checked: Checked,
        level: int,
    ) -> tuple[int, str]:
        shared = self._shared
        idle = shared.settings.client_timeout
        receive = await read_ahead(receive, checked, most=_AHEAD, idle=idle)
        exchange = _Exchange(shared, scope, receive, send, target, checked)
        slot = shared.queue.slot(ROUTE, level=level, timeout=shared.settings.ttl)
        began = time.perf_counter()
        spot = shared.positions.watch(slot.id)
        problem = await self._run(exchange, slot, spot)
        if problem is None:
            return exchange.status, ""
        if not exchange.started:
            late = late_headers(problem.code, began, spot.before)
            await send_problem(scope, send, problem, late)
        return problem.status, problem.code

    async def _run(self, exchange: _Exchange, slot: Slot, spot: Spot) -> Problem | None:
        """Take the turn and use it; raises ClientGone where nobody is there to be told."""
        problem: Problem | None = None
        async with exchange.while_client_stays() as client:
            try:
                async with slot as lease:
                    spot.leave()
                    await exchange.run(lease.waited_ms, spot.before)
                    slot.abandon()  # the answer is out: nobody waits for how the turn goes back
            except UpstreamError as error:
                problem = of_upstream(error)
            except RefusedBody as refused:
                problem = refused.problem
            except PeakError as error:
                if isinstance(error, Unavailable):
                    self._shared.upkeep.suspect()
                problem = of_queue(error)
            except asyncio.CancelledError:
                if client.gone:
                    raise
                problem = STOPPING
            finally:
                spot.leave()
        if client.gone:
            raise ClientGone
        return problem


class _Exchange:
    """One call of the target; `started` once the client has got the head of an answer."""

    def __init__(
        self,
        shared: Shared,
        scope: Scope,
        receive: Receive,
        send: Send,
        target: bytes,
        checked: Checked,
    ) -> None:
        self.started = False
        self.status = 0
        self._shared = shared
        self._scope = scope
        self._receive = receive
        self._send = send
        self._checked = checked
        self._request = make_request(shared, scope, target, checked)

    def while_client_stays(self) -> WhileClientStays:
        """A server that is not ours tells of a lost client only through the body's channel."""
        watch = own_server(self._scope) or not self._checked.has_body
        return WhileClientStays(self._scope, self._receive, watch=watch)

    async def run(self, waited_ms: int, before: int | None) -> None:
        """Call the target and pass its answer on."""
        extra = timing_headers(waited_ms, None, before)
        if self._checked.upgrade:
            self.status = await open_tunnel(
                self._shared,
                self._scope,
                self._sent,
                request=self._request,
                upgrade=self._checked.upgrade,
                extra=extra,
                started=self._note,
            )
            return
        self.status = await relay(
            self._shared,
            self._scope,
            self._receive,
            self._sent,
            request=self._request,
            checked=self._checked,
            limit=None,
            idle=True,
            extra=extra,
        )

    def _note(self) -> None:
        self.started = True

    async def _sent(self, message: object) -> None:
        self.started = True
        await self._send(message)  # type: ignore[arg-type]
