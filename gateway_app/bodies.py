"""Request bodies: read whole within a limit, or handed on while they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from .asgi import Message, Receive
from .guard import Checked
from .problems import Problem


class RefusedBody(Exception):
    """The body can't be taken; the problem says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class ClientGone(Exception):
    """The client left before its request was complete."""


class BrokenOff(Exception):
    """The answer broke off after its head was sent; the client's connection has been dropped."""


def too_large(limit: int) -> Problem:
    """413. The connection stays: the server reads the rest (to a bound) and drops it, since a
    client that still sends when its connection is closed may never see the answer.
    """
    return Problem(413, "body", f"the body exceeds {limit} bytes")


async def _next_part(receive: Receive, idle: float) -> Message:
    try:
        async with asyncio.timeout(idle):
            message = await receive()
    except TimeoutError:
        detail = f"the body paused for more than {idle:g} s"
        raise RefusedBody(Problem(408, "slow-body", detail, close=True)) from None
    if message["type"] != "http.request":
        raise ClientGone
    return message


async def chunks(
    receive: Receive, checked: Checked, *, limit: int | None, idle: float
) -> AsyncIterator[bytes]:
    """The parts of a body as they come; raises RefusedBody or ClientGone.

    The announced length is believed for refusing only: what comes is counted. `idle` is the
    longest time between two parts.
    """
    if limit is not None and (checked.length or 0) > limit:
        raise RefusedBody(too_large(limit))
    total = 0
    more = checked.has_body
    while more:
        message = await _next_part(receive, idle)
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        total += len(chunk)
        if limit is not None and total > limit:
            raise RefusedBody(too_large(limit))
        if chunk:
            yield chunk


async def read_ahead(receive: Receive, checked: Checked, *, most: int, idle: float) -> Receive:
    """Take up to `most` bytes now; what is returned gives them first, then the rest.

    For before a turn is taken: a client that drips its body would hold the turn of others. A body
    without a length is a stream, whose first part may wait for an answer: it is not touched.
    Raises RefusedBody or ClientGone.
    """
    kept: deque[Message] = deque()
    total, more = 0, bool(checked.length)
    while more and total < most:
        message = await _next_part(receive, idle)
        kept.append(message)
        total += len(message.get("body", b""))
        more = message.get("more_body", False)

    async def replay() -> Message:
        return kept.popleft() if kept else await receive()

    return replay if kept else receive


async def read_body(receive: Receive, checked: Checked, *, limit: int, idle: float) -> bytes:
    """The whole body; raises RefusedBody or ClientGone."""
    if not checked.has_body or checked.length == 0:
        return b""
    parts = [part async for part in chunks(receive, checked, limit=limit, idle=idle)]
    return parts[0] if len(parts) == 1 else b"".join(parts)
