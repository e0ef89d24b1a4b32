"""The way of a request: checked, sorted, put in line, answered. Pure ASGI, no framework."""

from __future__ import annotations

import asyncio
import time

from pyclient.http.errors import UpstreamError
from pyclient.http.paths import query_refusal

from .asgi import Receive, Scope, Send
from .bodies import BrokenOff, ClientGone, RefusedBody
from .gone import WhileClientStays
from .guard import Checked
from .hold import Held
from .logs import fields
from .problems import STOPPING, UNAVAILABLE, Problem, of_upstream, own_server, send_problem
from .queued import Queued
from .relay import make_request, relay
from .shared import Shared

_GONE = 499
"""nginx's word in logs for a client that left; nobody is there to be told."""


class Proxy:
    """The catch-all of the gateway as an ASGI application."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        settings = shared.settings
        self._holds = settings.mode == "hold"
        self._line = Held(shared) if self._holds else Queued(shared)
        self._log_all = settings.access_log == "all"
        self._log_errors = settings.access_log != "none"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            status, code = await self._serve(scope, receive, send)
        except ClientGone:
            status, code = _GONE, "gone"
        except BrokenOff:
            status, code = 502, "broke-off"
        if self._log_all or (self._log_errors and code):
            self._log(scope, status, code, began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> tuple[int, str]:
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
        if checked.upgrade:
            problem, checked = self._upgrade(scope, checked)
            if problem is not None:
                return await _refuse(scope, send, problem)
        try:
            if verdict.pass_through:
                return await self._pass_through(scope, receive, send, target, checked)
            if not shared.upkeep.up:
                return await _refuse(scope, send, UNAVAILABLE)
            return await self._line(
                scope,
                receive,
                send,
                target=target,
                checked=checked,
                level=self._level(scope, verdict.level),
            )
        except RefusedBody as refused:
            return await _refuse(scope, send, refused.problem)
        except UpstreamError as error:
            return await _refuse(scope, send, of_upstream(error))
        except asyncio.CancelledError:  # the server stops
            if not own_server(scope) or scope["extensions"]["peak.begun"]():
                raise
            return await _refuse(scope, send, STOPPING)

    def _upgrade(self, scope: Scope, checked: Checked) -> tuple[Problem | None, Checked]:
        """WebSocket needs hold mode and our server; other protocols are not offered."""
        if b"websocket" not in checked.upgrade or not _wants_upgrade(scope):
            return None, checked._replace(upgrade=b"")
        if not self._holds:
            return _NO_WEBSOCKET, checked
        if not own_server(scope) or checked.has_body or scope["method"] != "GET":
            return _BAD_WEBSOCKET, checked
        return None, checked

    async def _pass_through(
        self, scope: Scope, receive: Receive, send: Send, target: bytes, checked: Checked
    ) -> tuple[int, str]:
        shared = self._shared
        request = make_request(shared, scope, target, checked)
        watched = own_server(scope) or not checked.has_body
        async with WhileClientStays(scope, receive, watch=watched) as client:
            status = await relay(
                shared,
                scope,
                receive,
                send,
                request=request,
                checked=checked,
                limit=shared.settings.max_body,
            )
        if client.gone:
            raise ClientGone
        return status, ""

    def _level(self, scope: Scope, level: int) -> int:
        """The level of a path, or what a trusted peer's Priority header asks for (RFC 9218)."""
        if not self._shared.settings.priority_header or scope.get("client") is None:
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
        client = scope.get("client")
        values: dict[str, object] = {
            "method": scope["method"],
            "path": scope["path"][:200],
            "status": status,
            "took_ms": round((time.perf_counter() - began) * 1000, 1),
            "client": client[0] if client else "",
        }
        if code:
            values |= {"code": code, "detail": scope.get("peak.said", "")}
        self._shared.log.info("request", extra=fields(**values))


_NO_WEBSOCKET = Problem(
    501,
    "websocket",
    "WebSocket connections need PEAK_MODE=hold; this gateway runs in worker mode.",
    title="No WebSocket in worker mode",
    close=True,
)
_BAD_WEBSOCKET = Problem(
    400,
    "websocket",
    "A WebSocket begins with GET and no body, at a gateway run by `python -m gateway_app`.",
    close=True,
)


def _wants_upgrade(scope: Scope) -> bool:
    """Whether Connection names Upgrade: else that line is not meant for us (RFC 9110 §7.8)."""
    return any(
        b"upgrade" in [token.strip().lower() for token in value.split(b",")]
        for name, value in scope["headers"]
        if name == b"connection"
    )


def _target(scope: Scope) -> tuple[bytes, bytes]:
    """The request target byte for byte, and its path."""
    raw: bytes | None = scope.get("extensions", {}).get("peak.target")
    if raw is None:
        query = scope["query_string"]
        path = scope["raw_path"]
        return (path + b"?" + query if query else path), path
    return raw, raw.partition(b"?")[0]


async def _refuse(scope: Scope, send: Send, problem: Problem) -> tuple[int, str]:
    await send_problem(scope, send, problem)
    return problem.status, problem.code
