"""uvicorn with what a gateway needs: raw targets, bounded heads, a drain that answers everybody."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import socket
import threading
import weakref
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, TypeAlias

import uvicorn

from pyclient.collector import calm
from pyclient.settings import Settings

from .joined import JoinedProtocol
from .problems import bare_answer, send_bare
from .request_line import RequestLine
from .tunnel import Tunnel

_VERSIONS = ("1.1", "1.0")
_DISCARD_UP_TO = 64 * 1024 * 1024
_Request: TypeAlias = Callable[[], Any]


class Protocol(JoinedProtocol):
    """The server's side of a connection.

    Adds to the scope, under `extensions`: `peak.target` (the request target as it came),
    `peak.watch` (calls back when the client is gone), `peak.abort` (drops the connection),
    `peak.tunnel` (hands it over as raw bytes), `peak.begun` (whether the answer has) and
    `peak.bare` (no body follows, whatever Content-Length says).
    A head that does not end in size or time is refused before it is whole.
    """

    max_head = 64 * 1024
    max_url = 8 * 1024
    head_timeout = 10.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._line = RequestLine(self.max_url)
        self._between = True
        self._head_bytes = 0
        self._in_head = True
        self._refused = 400
        self._discarded = 0
        self._watched: tuple[Any, Callable[[], None]] | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._tunnel: Tunnel | None = None
        self._deaf = False
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.feed(data)
            return
        if self._deaf:
            return
        if self._between:
            data = self._line.take(data)
            if not data:
                self._head_bytes = len(self._line.held)
                if self._head_bytes and self._head_timer is None:
                    self._arm()
                return
        super().data_received(data)
        if self._in_head and self.parser is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head:
                self._refuse(431)
            elif self._head_timer is None:
                self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        if self._watched is not None and not self._watched[0].response_complete:
            cycle, callback = self._watched
            cycle.disconnected = True  # uvicorn tells the last of pipelined requests only
            callback()
        if self._tunnel is not None:
            self._tunnel.end()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._between = False
        self._in_head = True
        self._head_bytes = 0
        self._discarded = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.max_url:
            self._refused = 414
            raise ValueError("the request target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a chunked body comes here too: a trailer is no header, and nobody has
        # looked at it (the guard saw the head only).
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in _VERSIONS:
            raise ValueError("this server speaks HTTP/1.1 and HTTP/1.0")
        self._in_head = False
        if self._head_timer is not None:
            self._disarm()
        extensions: dict[str, Any] = {"peak.target": self.url, "peak.abort": self.transport.abort}
        self.scope["extensions"] = extensions
        super().on_headers_complete()
        if (true := self._line.true) is not None:
            self._line.true = None
            extensions["peak.target"] = true.target
            true.amend(self.scope)  # type: ignore[arg-type]
        # Weak: the cycle has the scope, and two that have each other wait for the collector.
        cycle = weakref.ref(self.cycle)
        extensions["peak.begun"] = functools.partial(_begun, cycle)
        extensions["peak.bare"] = functools.partial(_bare, cycle)
        extensions["peak.watch"] = functools.partial(self._watch, cycle)
        extensions["peak.tunnel"] = functools.partial(self._hand_over, cycle)

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            # Answered early: read on, so that the client gets to the answer, but not for ever.
            self._discarded += len(body)
            if self._discarded > _DISCARD_UP_TO:
                self.transport.close()
            return
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refused)

    def _unsupported_upgrade_warning(self) -> None:
        """The application answers upgrades that it does not want."""

    def _watch(self, request: _Request, callback: Callable[[], None] | None) -> None:
        """Each request for itself: the next may have begun before one that is answered ends."""
        cycle = request()
        if callback is not None:
            self._watched = cycle, callback
            if self.transport.is_closing():
                callback()
        elif self._watched is not None and self._watched[0] is cycle:
            self._watched = None

    def _hand_over(self, request: _Request) -> Tunnel:
        """From here on the connection is the application's: uvicorn sees no more of it."""
        self._watched = None
        self._tunnel = Tunnel(self.transport, self.flow.drain)
        request().disconnected = True  # so that nothing is answered in HTTP any more
        return self._tunnel

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout, self._late)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer and close without an application; requests that came before get theirs first."""
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None before the first request
        idle = cycle is None or cycle.response_complete
        if not idle and (self.pipeline or not cycle.more_body):
            if cycle.more_body:  # its turn has not come, and it is what is wrong
                self.pipeline[0] = cycle, functools.partial(send_bare, status)
            self._deaf = True
            cycle.keep_alive = False
            return
        if idle or not cycle.response_started:
            self.transport.write(bare_answer(status))
        self.transport.close()


def _begun(request: _Request) -> bool:
    """Whether a part of the answer was sent."""
    return bool(request().response_started)


def _bare(request: _Request) -> None:
    """Content-Length of the answer to come is that of what is not sent (304). uvicorn would wait
    for a body, and give up the connection."""
    request().chunked_encoding = False


class Server(uvicorn.Server):
    """A server that drains: no new connections, what runs ends, late ones get a 503, exit 0.

    A second signal ends the wait at once; of a process that has a parent a second SIGINT.
    """

    has_parent = False

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._drain_timeout = settings.drain_timeout
        self.on_drain: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Unlike uvicorn, don't raise the signal again after a clean end: the exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or not self.has_parent:
            self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        calm()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_drain()
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        await self._until_idle(self._drain_timeout)
        for task in list(state.tasks):
            task.cancel("the gateway stops")
        self.force_exit = False
        await self._until_idle(1.0)
        for connection in list(state.connections):
            connection.transport.close()
        await asyncio.sleep(0.02)
        await self.lifespan.shutdown()

    async def _until_idle(self, seconds: float) -> None:
        """Wait for the end of all requests; uvicorn has no event for it, so look now and then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        state = self.server_state
        while (state.tasks or state.connections) and not self.force_exit:
            left = end - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(min(left, 0.02))


def make_config(app: Any, settings: Settings, **options: Any) -> uvicorn.Config:
    """uvicorn's configuration for the gateway; the log has been set up before."""
    limits = {
        "max_head": settings.max_header_bytes + settings.max_url + 4 * settings.max_headers + 256,
        "max_url": settings.max_url,
        "head_timeout": settings.client_timeout,
    }
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=type("BoundProtocol", (Protocol,), limits),
        loop="auto",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=60,
        backlog=2048,
        **options,
    )
