"""Calls the target from the gateway itself, streaming both ways: pass-through, and hold mode."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from pyclient.http.envelope import Request
from pyclient.http.errors import UpstreamError
from pyclient.http.headers import Pairs, response_headers
from pyclient.http.stream import Stream

from .asgi import Receive, Scope, Send
from .bodies import BrokenOff, RefusedBody, chunks
from .guard import Checked
from .problems import LATE, own_server
from .shared import Shared

_WAITED_MS = 50


def make_request(
    shared: Shared, scope: Scope, target: bytes, checked: Checked, body: bytes = b""
) -> Request:
    """The request for the target, with the header rules applied."""
    client = scope.get("client")
    head, host, _ = shared.rules.head(
        scope["headers"], peer=client[0] if client else "", scheme=scope["scheme"]
    )
    keep_host = shared.settings.preserve_host and host != b""
    if keep_host:
        head = b"host: %b\r\n%b" % (host, head)
    return Request(
        scope["method"].encode("latin-1"),
        target,
        shared.target.base,
        not keep_host,
        checked.has_body or bool(body),
        head,
        body,
    )


def answer_headers(
    scope: Scope, status: int, pairs: Pairs, length: int | None
) -> list[tuple[bytes, bytes]]:
    """Header pairs for the client. A server that is not ours writes Date and Server itself, and
    may take the Content-Length of a 304 for that of a body."""
    headers = response_headers(pairs, status=status, method=scope["method"], length=length)
    if own_server(scope):
        if status == 304:
            scope["extensions"]["peak.bare"]()
        return headers
    ours = (b"date", b"server", b"content-length") if status == 304 else (b"date", b"server")
    return [pair for pair in headers if pair[0] not in ours]


def timing_headers(
    waited_ms: int, took_ms: int | None, before: int | None
) -> list[tuple[bytes, bytes]]:
    """How long the line was, for an answer that had to wait; browsers show Server-Timing."""
    if waited_ms < _WAITED_MS:
        return []
    timing = b"queue;dur=%d" % waited_ms
    if took_ms is not None:
        timing += b", upstream;dur=%d" % took_ms
    lines = [(b"server-timing", timing), (b"peak-wait", b"%d" % waited_ms)]
    return lines if before is None else [*lines, (b"peak-position", b"%d" % before)]


def late_headers(code: str, began: float, before: int | None) -> list[tuple[bytes, bytes]]:
    """The same for a problem, where it is that the time was up; `began` by `time.perf_counter`."""
    if code not in LATE:
        return []
    return timing_headers(int((time.perf_counter() - began) * 1000), None, before)


async def relay(
    shared: Shared,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    request: Request,
    checked: Checked,
    limit: int | None,
    idle: bool = False,
    extra: Pairs = (),
) -> int:
    """Forward and stream the answer back; returns its status.

    PEAK_UPSTREAM_TIMEOUT bounds the whole or, if `idle`, the time in which nothing moves.
    Raises UpstreamError, RefusedBody or ClientGone as long as nothing was sent. Later BrokenOff,
    after the client's connection was dropped, so that half an answer is not taken for a whole.
    """
    body: AsyncIterator[bytes] | None = None
    if checked.has_body and checked.length != 0:
        body = chunks(receive, checked, limit=limit, idle=shared.settings.client_timeout)
    stream = await shared.client.open(
        shared.target,
        request,
        timeout=shared.settings.upstream_timeout,
        idle=idle,
        body=body,
        length=checked.length,
    )
    try:
        await pass_on(scope, send, stream, extra)
    finally:
        await stream.aclose()
    return stream.status


async def pass_on(scope: Scope, send: Send, stream: Stream, extra: Pairs = ()) -> None:
    """Stream an answer to the client."""
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": stream.status,
        "headers": [*answer_headers(scope, stream.status, stream.headers, None), *extra],
    }
    await send(start)
    try:
        while chunk := await stream.read():
            more = not stream.ended
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
            if not more:
                return
    except (UpstreamError, RefusedBody) as error:
        _abort(scope)
        raise BrokenOff(str(error)) from None
    except BaseException:
        _abort(scope)
        raise
    with contextlib.suppress(RuntimeError):  # shorter than the target's Content-Length
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _abort(scope: Scope) -> None:
    abort = scope.get("extensions", {}).get("peak.abort")
    if abort is not None:
        abort()
