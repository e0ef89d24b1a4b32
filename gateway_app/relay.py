"""Calls the target from the gateway itself, streaming both ways: pass-through, and hold mode."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from pyclient.http.envelope import Request
from pyclient.http.headers import response_headers
from pyclient.http.stream import Stream

from .asgi import Receive, Scope, Send
from .bodies import chunks
from .guard import Checked
from .problems import own_server
from .shared import Shared


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


async def relay(
    shared: Shared,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    request: Request,
    checked: Checked,
    limit: int | None,
) -> tuple[int, int]:
    """Forward and stream the answer back; returns status and bytes of the answer.

    Raises UpstreamError, RefusedBody or ClientGone as long as nothing was sent; what breaks later
    drops the client's connection, so that half an answer can't be taken for a whole one.
    """
    body: AsyncIterator[bytes] | None = None
    if checked.has_body and checked.length != 0:
        body = chunks(receive, checked, limit=limit, idle=shared.settings.client_timeout)
    stream = await shared.client.open(
        shared.target,
        request,
        timeout=shared.settings.upstream_timeout,
        body=body,
        length=checked.length,
    )
    try:
        return stream.status, await _answer(scope, send, stream)
    finally:
        await stream.aclose()


async def _answer(scope: Scope, send: Send, stream: Stream) -> int:
    headers = response_headers(
        stream.headers, status=stream.status, method=scope["method"], length=None
    )
    if not own_server(scope):
        headers = [pair for pair in headers if pair[0] not in (b"date", b"server")]
    await send({"type": "http.response.start", "status": stream.status, "headers": headers})
    total = 0
    try:
        async for chunk in stream:
            total += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception:
        abort = scope.get("extensions", {}).get("peak.abort")
        if abort is None:
            raise
        abort()
        return total
    with contextlib.suppress(RuntimeError):  # shorter than the target's Content-Length
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    return total
