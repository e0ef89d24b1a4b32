"""Looks out for a client that leaves while its request waits for its turn.

ASGI tells that only by `receive`, which may bring parts of the body first: those are kept for the
app, up to 64 KiB; a client that sends more is not watched any further until the app reads on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

T = TypeVar("T")
Message = MutableMapping[str, Any]

_KEPT_BYTES = 64 << 10
_QUIET_S = 0.01
_GONE = ("http.disconnect", "websocket.disconnect")


class Watch:
    """The `receive` of one request, with a look ahead."""

    def __init__(self, receive: Callable[[], Awaitable[Message]]) -> None:
        self._receive = receive
        self._kept: deque[Message | BaseException] = deque()
        self._bytes = 0
        self._pending: asyncio.Task[Message] | None = None
        self._leave: Callable[[], object] | None = None
        self.gone = False

    async def wait(self, turn: Awaitable[T]) -> T | None:
        """Await `turn`; None if the client left meanwhile (`turn` was cancelled then).

        A turn that comes at once is not worth a look: watching begins after 10 ms.
        """
        task = asyncio.current_task()
        assert task is not None
        self._leave = task.cancel
        timer = asyncio.get_running_loop().call_later(_QUIET_S, self._look)
        try:
            return await turn
        except asyncio.CancelledError:
            if self.gone and task.uncancel() == 0:
                return None
            raise
        finally:
            self._leave = None
            timer.cancel()

    async def receive(self) -> Message:
        """What the app calls: what was kept, in order, then the server's own."""
        while self._pending is not None and not self._kept:
            await asyncio.wait({self._pending})
        if not self._kept:
            return await self._receive()
        kept = self._kept.popleft()
        if isinstance(kept, BaseException):
            raise kept
        return kept

    async def aclose(self) -> None:
        """Look ahead no more. What was kept stays for `receive`."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})

    def _look(self) -> None:
        self._pending = asyncio.ensure_future(_call(self._receive))
        self._pending.add_done_callback(self._keep)

    def _keep(self, task: asyncio.Task[Message]) -> None:
        self._pending = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._kept.append(error)
            return
        message = task.result()
        self._kept.append(message)
        self._bytes += len(message.get("body") or b"")
        if message["type"] in _GONE:
            if self._leave is not None:
                self.gone = True
                self._leave()
        elif self._leave is not None and self._bytes < _KEPT_BYTES:
            self._look()


async def _call(receive: Callable[[], Awaitable[Message]]) -> Message:
    return await receive()
