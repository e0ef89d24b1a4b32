"""An HTTP/1.1 client for one job: to send on what came, byte for byte, to a known target.

It adds no header but Host and the framing, follows nothing, decodes nothing and takes no proxy
from the environment. Connections are kept alive; one that the target has closed while it lay idle
costs a safe method a second try, and no other method anything but bad luck: those are sent only
on a connection that was just seen to be quiet.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from collections.abc import AsyncIterator

from .connection import Connection
from .envelope import Request
from .errors import UpstreamBroke, UpstreamConnectError, UpstreamTimeout
from .sinks import Buffer, Response
from .stream import Stream, send_body
from .target import Target

SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
_JOIN_UP_TO = 128 * 1024


class HttpClient:
    """A pool of connections, bound to the event loop that first uses it.

    `idle_timeout` stays below the 5 s after which many servers close; a target that says
    `Keep-Alive: timeout=N` is believed. `max_connections` bounds those open at one time.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 2.0,
        idle_timeout: float = 4.0,
        max_connections: int = 4096,
        max_idle: int = 256,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._max_connections = max_connections
        self._max_idle = max_idle
        self._tls = tls
        self._idle: dict[Target, deque[Connection]] = {}
        self._open: dict[Connection, Target] = {}
        self._connecting = 0
        self._closed = False

    async def request(
        self, target: Target, request: Request, *, timeout: float, max_body: int
    ) -> Response:
        """Send a request and gather the whole answer; raises UpstreamError.

        `timeout` bounds all of it, from connecting to the last byte. Cancelling drops the
        connection, so that the target learns of it.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        safe = request.method in SAFE
        connection = self._take(target, loop, safe=safe)
        reused = connection is not None
        while True:
            if connection is None:
                connection = await self._connect(target, loop, end - loop.time())
            buffer = Buffer(max_body, loop)
            head_only = request.method == b"HEAD"
            connection.start(buffer, head_only=head_only, timeout=end - loop.time())
            _send(connection, wire_head(target, request), request.body)
            try:
                return await buffer.future
            except UpstreamBroke:
                if not (reused and safe) or connection.answered:
                    raise
                reused = False
                connection = None
            except asyncio.CancelledError:
                connection.abort()
                raise

    async def open(
        self,
        target: Target,
        request: Request,
        *,
        timeout: float,
        idle: bool = False,
        body: AsyncIterator[bytes] | None = None,
        length: int | None = None,
        may_upgrade: bool = False,
    ) -> Stream:
        """Send a request and return as soon as the head of the answer is there.

        `body` is sent while it comes, with `length` as Content-Length or chunked; without it
        `request.body` is sent. The caller closes the stream. `timeout` bounds the whole
        exchange or, if `idle`, the time between two signs of life.
        """
        loop = asyncio.get_running_loop()
        safe = request.method in SAFE and body is None
        connection = None if may_upgrade else self._take(target, loop, safe=safe)
        while True:
            reused = connection is not None
            connection = connection or await self._connect(target, loop, timeout)
            stream = Stream(connection, loop)
            head_only = request.method == b"HEAD"
            connection.start(
                stream, head_only=head_only, timeout=timeout, idle=idle, may_upgrade=may_upgrade
            )
            if body is None:
                _send(connection, wire_head(target, request, upgrade=may_upgrade), request.body)
            else:
                connection.write(wire_head(target, request, streamed=True, length=length))
                stream.upload = loop.create_task(_upload(stream, connection, body, length))
            try:
                await stream.started
                return stream
            except BaseException as error:
                await stream.aclose()
                again = reused and safe and isinstance(error, UpstreamBroke)
                if not again or connection.answered:
                    raise
            connection = None

    async def aclose(self) -> None:
        """Drop every connection; exchanges that still run fail."""
        self._closed = True
        for connection in list(self._open):
            connection.fail(UpstreamBroke("the client was closed"))
        self._idle.clear()
        await asyncio.sleep(0)

    # The pool.

    def _take(
        self, target: Target, loop: asyncio.AbstractEventLoop, *, safe: bool
    ) -> Connection | None:
        """The connection that was used last, unless it has lain too long or is no longer quiet."""
        idle = self._idle.get(target)
        while idle:
            connection = idle.pop()
            if connection.closed:
                continue
            limit = self._idle_timeout
            if connection.keep_alive_s:
                limit = min(limit, max(connection.keep_alive_s - 1.0, 0.0))
            if loop.time() - connection.idle_since > limit or not (safe or _quiet(connection)):
                connection.close()
                continue
            return connection
        return None

    async def _connect(
        self, target: Target, loop: asyncio.AbstractEventLoop, left: float
    ) -> Connection:
        if self._closed or len(self._open) + self._connecting >= self._max_connections:
            why = "the client is closed" if self._closed else "too many connections are open"
            raise UpstreamConnectError(f"the target was not called: {why}")
        timeout = min(self._connect_timeout, left)
        if timeout <= 0:
            raise UpstreamTimeout("no time was left to call the target")
        self._connecting += 1
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._became_idle, self._lost, loop),
                    target.host,
                    target.port,
                    ssl=self._context() if target.tls else None,
                    server_hostname=target.host if target.tls else None,
                )
        except TimeoutError:
            raise UpstreamConnectError(
                f"the target did not accept a connection within {timeout:.3g} s"
            ) from None
        except (OSError, UnicodeError) as error:
            raise UpstreamConnectError(f"the target can't be reached ({_reason(error)})") from None
        finally:
            self._connecting -= 1
        if not connection.closed:
            self._open[connection] = target
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context(None)
        return self._tls

    def _became_idle(self, connection: Connection) -> None:
        target = self._open.get(connection)
        if target is None or self._closed:
            connection.close()
            return
        idle = self._idle.get(target)
        if idle is None:
            idle = self._idle[target] = deque()
        connection.idle_since = asyncio.get_running_loop().time()
        idle.append(connection)
        if len(idle) > self._max_idle:
            idle.popleft().close()

    def _lost(self, connection: Connection) -> None:
        target = self._open.pop(connection, None)
        idle = self._idle.get(target) if target is not None else None
        if idle and connection in idle:
            idle.remove(connection)


def tls_context(ca: str | None) -> ssl.SSLContext:
    """Who vouches for targets: the certificates of a PEM file, or those of the system."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or type(error).__name__}"
    return getattr(error, "strerror", None) or type(error).__name__


def wire_head(
    target: Target,
    request: Request,
    *,
    streamed: bool = False,
    length: int | None = None,
    upgrade: bool = False,
) -> bytes:
    """The head of a request as it goes over the wire; `streamed` bodies are framed by `length`."""
    host = b"host: %b\r\n" % target.authority if request.add_host else b""
    framing = b""
    if streamed:
        framing = b"transfer-encoding: chunked\r\n"
        if length is not None:
            framing = b"content-length: %d\r\n" % length
    elif request.add_length:
        framing = b"content-length: %d\r\n" % len(request.body)
    elif upgrade:
        framing = b"connection: upgrade\r\n"
    return b"%b %b%b HTTP/1.1\r\n%b%b%b\r\n" % (
        request.method,
        target.prefix,
        request.target,
        host,
        request.head,
        framing,
    )


def _send(connection: Connection, head: bytes, body: bytes | memoryview) -> None:
    if len(body) <= _JOIN_UP_TO:
        connection.write(b"".join((head, body)))
    else:
        connection.write(head)
        connection.write(body)


async def _upload(
    stream: Stream, connection: Connection, body: AsyncIterator[bytes], length: int | None
) -> None:
    """Send a streamed body; what goes wrong with it ends the exchange."""
    try:
        await send_body(connection, body, length)
    except Exception as error:
        stream.fail(error)


def _quiet(connection: Connection) -> bool:
    """Whether neither data nor the end of the stream waits to be read; two microseconds."""
    descriptor = connection.fileno()
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)
