"""The way of a request: checked, sorted, put in line, answered. Pure ASGI, no framework."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pyclient.errors import PeakError, TaskExpired
from pyclient.http.client import SAFE
from pyclient.http.envelope import Answer, read_answer, write_request
from pyclient.http.errors import UpstreamError
from pyclient.http.headers import response_headers
from pyclient.http.paths import query_refusal

from .asgi import Receive, Scope, Send
from .bodies import ClientGone, RefusedBody, read_body
from .gone import WhileClientStays
from .guard import Checked
from .logs import fields
from .problems import Problem, of_kind, of_queue, of_upstream, own_server, send_problem
from .relay import make_request, relay
from .shared import Shared

ROUTE = "http"
_WAITED_MS = 50
_WORKER_SEEN_MS = 30_000


class Proxy:
    """The catch-all of the gateway as an ASGI application."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        settings = shared.settings
        self._log_all = settings.access_log == "all"
        self._log_errors = settings.access_log != "none"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            status, code = await self._serve(scope, receive, send, began)
        except ClientGone:
            status, code = 499, "gone"
        if self._log_all or (self._log_errors and code):
            self._log(scope, status, code, began)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, began: float
    ) -> tuple[int, str]:
        """Answer the request; the status, and a code where the answer is ours."""
        shared = self._shared
        checked = shared.guard.check(scope)
        if checked.problem is not None:
            return await _refuse(scope, send, checked.problem)
        target, path = _target(scope)
        verdict = shared.paths.judge(path)
        reason = verdict.refusal or query_refusal(target[len(path) :])
        if reason:
            return await _refuse(scope, send, Problem(400, "target", reason))
        if b"websocket" in checked.upgrade:
            return await _refuse(scope, send, _NO_WEBSOCKET)
        try:
            if verdict.pass_through:
                return await self._pass_through(scope, receive, send, target, checked)
            level = self._level(scope, verdict.level)
            return await self._queue(scope, receive, send, target, checked, level, began)
        except RefusedBody as refused:
            return await _refuse(scope, send, refused.problem)
        except UpstreamError as error:
            return await _refuse(scope, send, of_upstream(error))

    async def _pass_through(
        self, scope: Scope, receive: Receive, send: Send, target: bytes, checked: Checked
    ) -> tuple[int, str]:
        shared = self._shared
        request = make_request(shared, scope, target, checked)
        async with WhileClientStays(scope, receive) if not checked.has_body else _Nothing():
            status, _ = await relay(
                shared,
                scope,
                receive,
                send,
                request=request,
                checked=checked,
                limit=shared.settings.max_body,
            )
            return status, ""
        raise ClientGone

    async def _queue(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        target: bytes,
        checked: Checked,
        level: int,
        began: float,
    ) -> tuple[int, str]:
        shared = self._shared
        settings = shared.settings
        body = await read_body(
            receive, checked, limit=settings.max_body, idle=settings.client_timeout
        )
        request = make_request(shared, scope, target, checked, body)
        data = write_request(
            method=scope["method"],
            target=target,
            base=request.base,
            head=request.head,
            body=body,
            has_host=not request.add_host,
            framed=checked.has_body,
        )
        attempts = 2 if request.method in SAFE or _has_key(scope) else 1
        problem: Problem | None = None
        async with WhileClientStays(scope, receive) as client:
            try:
                answer = read_answer(await self._exchange(data, level, attempts))
            except UpstreamError as error:
                problem = of_upstream(error)
            except PeakError as error:
                problem = await self._problem(error)
            except asyncio.CancelledError:
                if client.gone:
                    raise
                problem = _STOPPING
        if client.gone:
            raise ClientGone
        if problem is None and answer.kind != "ok":
            text = str(answer.body, "utf-8", "replace")
            problem = of_kind(answer.kind, answer.status, text)
        if problem is not None:
            return await _refuse(scope, send, problem)
        return await _answer(scope, send, answer, began)

    async def _exchange(self, data: bytes, level: int, attempts: int) -> bytes:
        shared = self._shared
        return await shared.queue.exchange(
            ROUTE,
            data,
            level=level,
            wait_ms=shared.wait_ms,
            run_ms=shared.run_ms,
            due_ms=shared.wait_ms + shared.run_ms,
            attempts=attempts,
        )

    async def _problem(self, error: PeakError) -> Problem:
        """What to tell the client; where its time was up, whether a worker was there at all."""
        seen = True
        if isinstance(error, TaskExpired):
            try:
                async with asyncio.timeout(1):
                    claimed_ms = (await self._shared.queue.gauge())["claimed_ms"]
                seen = 0 <= claimed_ms <= _WORKER_SEEN_MS
            except (PeakError, TimeoutError):
                pass  # 504 is the answer that promises nothing about workers
        return of_queue(error, worker_seen=seen)

    def _level(self, scope: Scope, level: int) -> int:
        """The level of a path, or what a trusted peer's Priority header asks for (RFC 9218)."""
        settings = self._shared.settings
        if not settings.priority_header or scope.get("client") is None:
            return level
        if not self._shared.rules.trusts(scope["client"][0]):
            return level
        for name, value in scope["headers"]:
            if name == b"priority":
                for item in value.replace(b" ", b"").split(b","):
                    if len(item) == 3 and item[:2] == b"u=" and item[2:] in b"01234567":
                        level = int(item[2:])
        return level

    def _log(self, scope: Scope, status: int, code: str, began: float) -> None:
        took = round((time.perf_counter() - began) * 1000, 1)
        client = scope.get("client")
        self._shared.log.info(
            "request",
            extra=fields(
                method=scope["method"],
                path=scope["path"][:200],
                status=status,
                took_ms=took,
                client=client[0] if client else "",
                **({"code": code} if code else {}),
            ),
        )


_NO_WEBSOCKET = Problem(
    501,
    "websocket",
    "WebSocket connections need PEAK_MODE=hold; this gateway runs in worker mode.",
    title="No WebSocket in worker mode",
    close=True,
)
_STOPPING = Problem(503, "stopping", "The gateway is shutting down.", retry_after=1.0, close=True)


class _Nothing:
    """An `async with` that does nothing."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def _target(scope: Scope) -> tuple[bytes, bytes]:
    """The request target byte for byte, and its path."""
    raw: bytes | None = scope.get("extensions", {}).get("peak.target")
    if raw is None:
        query = scope["query_string"]
        path = scope["raw_path"]
        return (path + b"?" + query if query else path), path
    return raw, raw.partition(b"?")[0]


def _has_key(scope: Scope) -> bool:
    return any(name == b"idempotency-key" for name, _ in scope["headers"])


async def _refuse(scope: Scope, send: Send, problem: Problem) -> tuple[int, str]:
    await send_problem(scope, send, problem)
    return problem.status, problem.code


async def _answer(scope: Scope, send: Send, answer: Answer, began: float) -> tuple[int, str]:
    """Send the target's answer; one that waited says how long."""
    status = answer.status
    headers = response_headers(
        answer.headers, status=status, method=scope["method"], length=len(answer.body)
    )
    if not own_server(scope):
        headers = [pair for pair in headers if pair[0] not in (b"date", b"server")]
    waited_ms = int((time.perf_counter() - began) * 1000) - answer.took_us // 1000
    if waited_ms >= _WAITED_MS:
        timing = b"queue;dur=%d, upstream;dur=%d" % (waited_ms, answer.took_us // 1000)
        headers += [(b"server-timing", timing), (b"peak-wait", b"%d" % waited_ms)]
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    body = answer.body if status not in (204, 304) else b""
    await send({"type": "http.response.body", "body": body})
    return status, ""
