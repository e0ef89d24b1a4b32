"""Worker mode: the request travels to a worker as an envelope, and its answer comes back as one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from pyclient.errors import PeakError, TaskExpired, Unavailable
from pyclient.http.client import SAFE
from pyclient.http.envelope import Answer, read_answer, write_request
from pyclient.http.errors import UpstreamError
from pyclient.http.headers import Pairs

from .asgi import Receive, Scope, Send
from .bodies import ClientGone, read_body
from .gone import WhileClientStays
from .guard import Checked
from .problems import STOPPING, Problem, of_kind, of_queue, of_upstream, send_problem
from .relay import answer_headers, late_headers, make_request, timing_headers
from .shared import ROUTE, Shared

_WORKER_SEEN_MS = 30_000


class Queued:
    """The line in worker mode; answers the request and returns status and code."""

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
        # What is large must not be held here while it waits: by then it lies in Redis.
        task_id = self._shared.queue.new_id(ROUTE)
        parts = await self._envelope(scope, receive, target, checked)
        exchange = self._exchange(*parts, level, task_id)
        del parts
        began = time.perf_counter()
        spot = self._shared.positions.watch(task_id)
        try:
            found = await self._answer(scope, receive, exchange)
        finally:
            spot.leave()
        if isinstance(found, Problem):
            late = late_headers(found.code, began, spot.before)
            await send_problem(scope, send, found, late)
            return found.status, found.code
        waited_ms = int((time.perf_counter() - began) * 1000)
        took_ms = found.took_us // 1000
        waited = timing_headers(waited_ms - took_ms, took_ms, spot.before)
        if found.kind != "ok":
            problem = of_kind(found.kind, found.status, str(found.body, "utf-8", "replace"))
            await send_problem(scope, send, problem, waited)
            return problem.status, problem.code
        await _send(scope, send, found, waited)
        return found.status, ""

    async def _answer(
        self, scope: Scope, receive: Receive, exchange: Coroutine[Any, Any, bytes]
    ) -> Answer | Problem:
        """What came of it; raises ClientGone where nobody is there to be told."""
        found: Answer | Problem = STOPPING
        async with WhileClientStays(scope, receive) as client:
            try:
                found = read_answer(await exchange)
            except UpstreamError as error:
                found = of_upstream(error)
            except PeakError as error:
                found = await self._problem(error)
            except asyncio.CancelledError:
                if client.gone:
                    raise
        if client.gone:
            raise ClientGone
        return found

    async def _envelope(
        self, scope: Scope, receive: Receive, target: bytes, checked: Checked
    ) -> tuple[bytes, int]:
        """The envelope, and how often it may be tried: what may have acted is not repeated."""
        settings = self._shared.settings
        body = await read_body(
            receive, checked, limit=settings.max_body, idle=settings.client_timeout
        )
        request = make_request(self._shared, scope, target, checked, body)
        data = write_request(
            method=scope["method"],
            target=target,
            base=request.base,
            head=request.head,
            body=body,
            has_host=not request.add_host,
            framed=checked.has_body,
        )
        keyed = any(name == b"idempotency-key" for name, _ in scope["headers"])
        return data, 2 if keyed or request.method in SAFE else 1

    def _exchange(
        self, data: bytes, attempts: int, level: int, task_id: str
    ) -> Coroutine[Any, Any, bytes]:
        shared = self._shared
        return shared.queue.exchange(
            ROUTE,
            data,
            level=level,
            wait_ms=shared.wait_ms,
            run_ms=shared.run_ms,
            due_ms=shared.wait_ms + shared.run_ms,
            attempts=attempts,
            task_id=task_id,
        )

    async def _problem(self, error: PeakError) -> Problem:
        """What to tell the client; where its time was up, whether a worker was there at all."""
        seen = True
        if isinstance(error, Unavailable):
            self._shared.upkeep.suspect()
        if isinstance(error, TaskExpired):
            try:
                async with asyncio.timeout(1):
                    claimed_ms = (await self._shared.queue.gauge())["claimed_ms"]
                seen = 0 <= claimed_ms <= _WORKER_SEEN_MS
            except (PeakError, TimeoutError):
                pass  # 504 is the answer that promises nothing about workers
        return of_queue(error, worker_seen=seen)


async def _send(scope: Scope, send: Send, answer: Answer, waited: Pairs) -> None:
    """Send the target's answer; one that waited says how long."""
    status = answer.status
    headers = [*answer_headers(scope, status, answer.headers, len(answer.body)), *waited]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    body = answer.body if status not in (204, 304) else b""
    await send({"type": "http.response.body", "body": body})
