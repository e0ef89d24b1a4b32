"""Notices that the client has left while its request waits or its answer streams."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from .asgi import Receive, Scope


class WhileClientStays:
    """`async with` a block that is cancelled when the client goes; `gone` then says so.

    Our own server calls back when the connection is lost, which costs nothing; on any other
    server a task waits for `http.disconnect`. The body must have been read before.
    The cancellation ends here; one that came from elsewhere goes on.
    """

    __slots__ = ("_receive", "_task", "_wanted", "_watch", "_watcher", "gone")

    def __init__(self, scope: Scope, receive: Receive, *, watch: bool = True) -> None:
        self._wanted = watch
        self._watch: Any = scope.get("extensions", {}).get("peak.watch")
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False

    async def __aenter__(self) -> WhileClientStays:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        if self._watch is not None:
            self._watch(self._left)
        elif self._wanted:
            self._watcher = asyncio.get_running_loop().create_task(self._wait())
        return self

    def _left(self) -> None:
        if not self.gone:
            self.gone = True
            self._task.cancel()

    async def _wait(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left()
                return

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if self._watch is not None:
            self._watch(None)
        if self._watcher is not None:
            self._watcher.cancel()
        if self.gone:
            # Only our own cancellation is taken back: a second one came from the server.
            return self._task.uncancel() == 0 and kind is asyncio.CancelledError
        return False
