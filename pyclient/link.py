"""One socket to Redis: calls of one loop turn leave in one write, replies come back in order.

Replies carry no number, so order is all that ties a reply to its call. Hence three rules:
a caller that is cancelled leaves its place in line behind (its reply is read and dropped), a
reply that is overdue ends the whole link (it must never meet another call), and nothing but
`data_received` takes a call out of the line.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import hiredis

from .errors import Unavailable
from .replies import error_of

Arg: TypeAlias = str | bytes | int | float | memoryview
"""What a command may be made of. bool and None are not among them: say what you mean."""
OnPush: TypeAlias = Callable[[list[Any]], None] | None
# The stub of hiredis 3.5 types a command as a tuple of one.
_pack = cast(Callable[[tuple[Arg, ...]], bytes], hiredis.pack_command)
_MORE, _NEVER = object(), math.inf
_PATIENCE_S = 1.0
_SECOND_LOOK_S = 0.005
_PUSHES = (b"message", b"smessage", b"ssubscribe", b"sunsubscribe")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one link; a call that meets one waits for room until its own deadline."""

    calls: int = 8192
    """Calls without a reply, and as many again that wait for room."""
    bytes: int = 32 << 20
    """Bytes that were handed over and not yet taken by the kernel."""


DEFAULT_LIMITS = Limits()


class Link(asyncio.Protocol):
    """The protocol of one socket. Made by `dial.dial`, which also shakes hands.

    `on_push` takes what comes unasked (Pub/Sub, RESP3 pushes); `on_end` is called once.
    """

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS, on_push: OnPush = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._on_push = on_push
        self.on_end: Callable[[Link], None] | None = None
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._paused = False
        self._rooms: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = _NEVER
        self._end: tuple[str, str] | None = None
        self._retired = False
        self._gone = self._loop.create_future()
        self.sent = self.answered = 0
        self.loads: dict[str, tuple[int, asyncio.Future[Any]]] = {}
        self.born = self._loop.time()

    # -- what callers use -----------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether a new call may be sent."""
        return self._end is None and not self._retired

    @property
    def waiting(self) -> int:
        """Calls whose reply is outstanding, those of cancelled callers among them."""
        return len(self._pending)

    async def ask(self, args: tuple[Arg, ...], deadline: float) -> Any:
        """Send one command and return its reply; an error reply is *returned*.

        `deadline` is on the loop's clock; one that is less than a second away fails this
        call alone and leaves the link a second to answer. Raises Unavailable.
        """
        if deadline - self._loop.time() < _PATIENCE_S:
            return await self._hurry(args, deadline)
        if self._paused or len(self._pending) >= self._limits.calls or self._is_heavy():
            await self.room(deadline)
        return await self.send(args, deadline)

    def send(self, args: tuple[Arg, ...], deadline: float) -> asyncio.Future[Any]:
        """Queue one command; the future of its reply. Cancelling the future is safe."""
        if self._end is not None:
            raise self._error(unknown=False)
        packed = _pack(args)
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._pending or self._transport is None:
            if not self._out:
                self._loop.call_soon(self._flush)
            self._out.append(packed)
            self._out_bytes += len(packed)
        else:  # an idle link need not wait for the end of the turn
            self._transport.write(packed)
        self._pending.append((future, deadline))
        self.sent += 1
        if deadline < self._due:
            self._arm(deadline)
        return future

    def subscribe(self, args: tuple[Arg, ...], on_push: OnPush) -> None:
        """Send what pushes answer, on a link without calls; they go to `on_push` from now on."""
        self._on_push = on_push
        self.send(args, _NEVER)
        self._pending.pop()

    async def room(self, deadline: float) -> None:
        """Return when a call may be sent. Raises Unavailable."""
        if len(self._rooms) >= self._limits.calls:
            raise Unavailable(
                f"{self._limits.calls} calls wait for a reply and as many for room: "
                "Redis answers too slowly for this load",
                code="CROWDED",
            )
        while self._paused or len(self._pending) >= self._limits.calls or self._is_heavy():
            if self._end is not None:
                raise self._error(unknown=False)
            room: asyncio.Future[None] = self._loop.create_future()
            self._rooms.append(room)
            if self._is_heavy():
                self._loop.call_soon(self._make_room)
            try:
                async with asyncio.timeout_at(deadline):
                    await room
            except TimeoutError:
                raise Unavailable(
                    "no room on the connection before the deadline", code="TIMEOUT"
                ) from None

    def retire(self) -> None:
        """Take no new calls; end once the outstanding ones are answered or overdue."""
        self._retired = True
        self._end_if_idle()

    def abort(self, reason: str, *, code: str = "") -> None:
        """End at once; every outstanding call fails with `reason`."""
        if self._end is not None:
            return
        self._end = (reason, code)
        if self._transport is not None:
            self._transport.abort()
        self._finish()

    async def wait_gone(self) -> None:
        """Return when the socket is closed."""
        await asyncio.shield(self._gone)

    # -- what the event loop calls --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports don't inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.bytes)

    def data_received(self, data: bytes) -> None:
        pending = self._pending
        gets = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _MORE:
                if isinstance(reply, list) and self._is_push(reply):
                    if self._on_push is not None:
                        self._on_push(reply)
                elif pending:
                    future = pending.popleft()[0]
                    if not future.done():
                        future.set_result(reply)
                else:
                    self._abort_for(reply)
                    return
        except hiredis.ProtocolError as error:
            self.abort(f"what came is not the Redis protocol: {error}")
            return
        if self._rooms:
            self._make_room()
        if self._retired:
            self._end_if_idle()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is None:
            self._end = (f"Redis closed the connection{f': {exc}' if exc else ''}", "")
        self._finish()
        if not self._gone.done():
            self._gone.set_result(None)

    # -- inside ---------------------------------------------------------------------------

    def _flush(self) -> None:
        out, self._out, self._out_bytes = self._out, [], 0
        if self._end is None and self._transport is not None:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _is_push(self, reply: list[Any]) -> bool:
        """RESP3 marks pushes; RESP2 Pub/Sub messages are known by their first word."""
        if isinstance(reply, hiredis.PushNotification):
            return True
        return self._on_push is not None and reply[:1] != [] and reply[0] in _PUSHES

    def _abort_for(self, reply: object) -> None:
        """What comes unasked is either the server's last words (maxclients) or a broken line."""
        if isinstance(reply, hiredis.ReplyError):
            error = error_of(reply)
            self.abort(str(error), code=error.code)
        else:
            self.abort(f"Redis sent a reply that nobody asked for: {reply!r:.200}")

    async def _hurry(self, args: tuple[Arg, ...], deadline: float) -> Any:
        if deadline <= self._loop.time():
            raise Unavailable("the deadline passed before the call was sent", code="TIMEOUT")
        try:
            async with asyncio.timeout_at(deadline):
                return await self.ask(args, self._loop.time() + 2 * _PATIENCE_S)
        except TimeoutError:
            raise Unavailable(
                "Redis did not answer in time (the call may have run)", code="TIMEOUT", unknown=True
            ) from None

    def _is_heavy(self) -> bool:
        return self._out_bytes >= self._limits.bytes

    def _make_room(self) -> None:
        free = self._limits.calls - len(self._pending)
        while self._rooms and free > 0:
            room = self._rooms.popleft()
            if not room.done():
                room.set_result(None)
                free -= 1

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = self._loop.call_at(deadline, self._first_look)

    def _first_look(self) -> None:
        """This process may have been stopped or busy: read first what already came."""
        self._timer = self._loop.call_later(_SECOND_LOOK_S, self._second_look)

    def _second_look(self) -> None:
        self._timer, self._due = None, _NEVER
        earliest = min((deadline for _, deadline in self._pending), default=_NEVER)
        if earliest <= self._loop.time():
            self.abort("Redis did not answer in time", code="TIMEOUT")
        elif earliest != _NEVER:
            self._arm(earliest)

    def _end_if_idle(self) -> None:
        if not self._pending and self._end is None:
            self._end = ("the connection was closed on this side", "")
            if self._transport is not None:
                self._transport.close()
            self._finish()

    def _finish(self) -> None:
        """Fail what is outstanding; the last `len(out)` calls were never written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        written = len(self._pending) - len(self._out)
        self.answered = self.sent - len(self._pending)
        pending, self._pending = self._pending, deque()
        for index, (future, _) in enumerate(pending):
            if not future.done():
                future.set_exception(self._error(unknown=index < written))
        rooms, self._rooms = self._rooms, deque()
        for room in rooms:
            if not room.done():
                room.set_result(None)
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(self)

    def _error(self, *, unknown: bool) -> Unavailable:
        assert self._end is not None
        reason, code = self._end
        hint = " (the call may have run)" if unknown else ""
        return Unavailable(reason + hint, code=code, unknown=unknown)
