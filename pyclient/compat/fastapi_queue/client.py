"""Whether the HTTP client is still there, for a manager that was never handed the request.

A program written for fastapi-queue passes a path and nothing else, and no server cancels a
handler whose client has gone. But the manager is made inside the handler, so the request is a
local variable of one of its callers (Starlette's, if not the handler's own).
"""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

from pyclient._asgi_watch import Watch

_DEPTH = 40


def request_of(frame: FrameType | None) -> Any:
    """The request that the code of this frame answers, or None where it answers none."""
    requests = sys.modules.get("starlette.requests")
    if requests is None:
        return None
    for _ in range(_DEPTH):
        if frame is None:
            return None
        found = frame.f_locals.get("request")
        if isinstance(found, requests.Request):
            return found
        frame = frame.f_back
    return None


class Departure:
    """Tells when the client of a request has left; of no request, never."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._watch: Watch | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None] | None:
        """A task that ends when the client leaves; None where that can't be told.

        The handler may read the body later: what the look-out reads on the way is kept for it.
        """
        if self._request is None:
            return None
        if self._task is None:
            self._watch = Watch(self._request._receive)
            self._request._receive = self._watch.receive
            self._task = asyncio.get_running_loop().create_task(self._look(self._watch))
        return self._task

    async def end(self) -> None:
        """Look out no more."""
        if self._task is not None and self._watch is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            await self._watch.aclose()
            self._task = None

    @staticmethod
    async def _look(watch: Watch) -> None:
        await watch.wait(asyncio.get_running_loop().create_future())
