"""The application: FastAPI for the gateway's own pages, the proxy beside it for all else.

`gateway_app.app:app` is made when it is first asked for, from the settings of the environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from pyclient.errors import ConfigError
from pyclient.http.headers import SERVER, http_date
from pyclient.settings import Settings, load

from .logs import setup
from .pages import make_router, own_paths
from .problems import own_server
from .proxy import Proxy
from .shared import Shared

_PAGE_METHODS = frozenset({"GET", "HEAD"})


class Gateway(FastAPI):
    """A FastAPI application that hands every request but those for its own pages to the proxy."""

    def __init__(self, settings: Settings) -> None:
        shared = Shared(settings)
        super().__init__(
            title="peakshaver gateway",
            docs_url=settings.doc_path,
            redoc_url=settings.redoc_path,
            openapi_url="/openapi.json",
            lifespan=_lifespan,
        )
        self.include_router(make_router(shared))
        self.shared = shared
        self._proxy = Proxy(shared)
        self._own = own_paths(shared)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI. What is asked of a page must have passed the guard, too."""
        if scope["type"] == "http" and not self._is_page(scope):
            await self._proxy(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011})
        else:
            if scope.get("method") == "HEAD":  # FastAPI's routes know GET; the server sends no body
                scope = {**scope, "method": "GET"}
            await super().__call__(scope, receive, _stamped(scope, send))

    def _is_page(self, scope: Any) -> bool:
        return (
            scope["path"] in self._own
            and scope["method"] in _PAGE_METHODS
            and self.shared.guard.check(scope).problem is None
        )


def _stamped(scope: Any, send: Any) -> Any:
    """Adds Date and Server to what FastAPI sends, where our server leaves them to us."""
    if scope["type"] != "http" or not own_server(scope):
        return send

    async def stamped(message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            ours = [(b"date", http_date()), SERVER]
            message["headers"] = [*message["headers"], *(p for p in ours if p[0] not in names)]
        await send(message)

    return stamped


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Gateway)
    await app.shared.start()
    try:
        yield
    finally:
        await app.shared.stop()


def create_app(settings: Settings | None = None) -> Gateway:
    """The gateway by `settings`, or by those of the environment; raises ConfigError."""
    return Gateway(load() if settings is None else settings)


_made: list[Gateway] = []


def __getattr__(name: str) -> Gateway:
    """`app`, made on first use, so that importing this module needs no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _made:
        try:
            settings = load()
            setup(settings)
            _made.append(create_app(settings))
        except ConfigError as error:
            raise SystemExit(f"gateway: {error}") from None
    return _made[0]


def __dir__() -> list[str]:
    """With `app`: `fastapi run` looks for it here."""
    return [*globals(), "app"]
