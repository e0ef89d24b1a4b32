"""Drives an ASGI app by hand: what the client sends and when it leaves, what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from pyclient import Queue
from pyclient.asgi import App, Message, PeakMiddleware
from tests.servers import PATIENCE_S, Server


class Exchange:
    """One request of one client."""

    def __init__(
        self,
        app: App,
        path: str = "/",
        *,
        kind: str = "http",
        body: Iterable[bytes] = (b"",),
        client: tuple[str, int] | None = ("10.0.0.1", 1234),
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        self.sent: list[Message] = []
        self._app = app
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": kind,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "client": client,
            "server": ("127.0.0.1", 80),
            "extensions": dict(extensions or {}),
        }
        parts = list(body)
        for number, part in enumerate(parts, 1):
            self.say({"type": "http.request", "body": part, "more_body": number < len(parts)})
        if kind == "websocket":
            self._incoming = asyncio.Queue()
            self.say({"type": "websocket.connect"})

    def say(self, message: Message) -> None:
        """What the app will receive next."""
        self._incoming.put_nowait(message)

    def leave(self) -> None:
        """The client closes its connection."""
        self.say({"type": f"{self._scope['type']}.disconnect", "code": 1006})

    async def run(self) -> Exchange:
        """Have the app handle it, to the end."""

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self._app(self._scope, self._incoming.get, send)
        return self

    @property
    def status(self) -> int:
        """The status of the answer; 0 where none was begun."""
        starts = [m["status"] for m in self.sent if m["type"].endswith("response.start")]
        return int(starts[0]) if starts else 0

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of the answer."""
        start = next(m for m in self.sent if m["type"].endswith("response.start"))
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def content(self) -> bytes:
        """The body of the answer."""
        return b"".join(m.get("body", b"") for m in self.sent)


async def lifespan(app: App, *, fails: bool = False) -> list[str]:
    """One life of the app: the types of what it said."""
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    said: list[str] = []
    incoming.put_nowait({"type": "lifespan.startup"})

    async def send(message: Message) -> None:
        said.append(message["type"])
        if message["type"] == "lifespan.startup.complete":
            incoming.put_nowait({"type": "lifespan.shutdown"})

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, incoming.get, send)
    return said


class Site:
    """An app that counts who is inside at once, and holds requests until told to go on."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.served = 0
        self.go_on = asyncio.Event()
        self.lives: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            if scope["path"] != "/quick":
                await self.go_on.wait()
            if scope["type"] == "websocket":
                await self._echo(receive, send)
            else:
                await self._answer(receive, send)
        finally:
            self.inside -= 1
        self.served += 1

    async def _answer(self, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _echo(self, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close"})

    async def _live(self, receive: Any, send: Any) -> None:
        for word in ("startup", "shutdown"):
            self.lives.append((await receive())["type"])
            await send({"type": f"lifespan.{word}.complete"})


@contextlib.asynccontextmanager
async def behind(
    server: Server, name: str, site: Any, **options: Any
) -> AsyncIterator[PeakMiddleware]:
    """A site in line, closed at the end."""
    app = PeakMiddleware(site, queue=Queue.from_url(server.url, name=name), **options)
    try:
        yield app
    finally:
        await app.aclose()


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Poll until it holds."""
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while not condition():
        assert asyncio.get_running_loop().time() < end, what or condition
        await asyncio.sleep(0.005)


async def waiting(app: PeakMiddleware) -> int:
    """How many requests wait for their turn."""
    commands = await app.queue._engine.commands("hold")
    return int((await commands.gauge())["waiting"])


async def until_waiting(app: PeakMiddleware, count: int) -> None:
    """Wait until so many do."""
    for _ in range(500):
        if await waiting(app) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never {count} waiting")
