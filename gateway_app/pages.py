"""The gateway's own pages, and the target's documentation with its links bent to the gateway."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pyclient.errors import PeakError
from pyclient.http.envelope import Request as Outgoing
from pyclient.http.errors import UpstreamError
from pyclient.http.headers import response_headers
from pyclient.http.paths import HIGH, LOW
from pyclient.http.sinks import Response as Upstream

from .problems import Problem, of_upstream, own_server, send_problem
from .shared import Shared

LIVE, READY = "/gateway_live", "/gateway_ready"
TARGET_OPENAPI = "/target_openapi.json"
_DOC_PAGES = ("/docs", "/redoc")
_HEALTH_S = 1.5
_MAX_PAGE = 16 * 1024 * 1024
_HEAD = b"accept: */*\r\naccept-encoding: identity\r\nvia: 1.1 peakshaver\r\n"


def own_paths(shared: Shared) -> frozenset[str]:
    """The paths that GET (and HEAD) requests find at the gateway and not at the target."""
    settings = shared.settings
    return frozenset(
        {
            LIVE,
            READY,
            TARGET_OPENAPI,
            "/openapi.json",
            settings.health_path,
            settings.doc_path,
            settings.redoc_path,
            *_DOC_PAGES,
        }
    )


def make_router(shared: Shared) -> APIRouter:
    """Routes for FastAPI; the proxy itself is not one of them."""
    router = APIRouter()

    @router.get(shared.settings.health_path, tags=["gateway"])
    async def health() -> dict[str, Any]:
        """Whether target and Redis can be reached, and how many requests wait."""
        reachable, waiting = await asyncio.gather(_target_reachable(shared), _waiting(shared))
        return {
            "target_reachable": reachable,
            "redis_reachable": waiting is not None,
            "queue": {
                "high": waiting[HIGH] if waiting else None,
                "low": waiting[LOW] if waiting else None,
            },
        }

    @router.get(LIVE, tags=["gateway"])
    async def live() -> dict[str, bool]:
        """The process answers."""
        return {"live": True}

    @router.get(READY, tags=["gateway"])
    async def ready() -> JSONResponse:
        """Whether requests can be put in line: 200, else 503."""
        fine = shared.upkeep.up and not shared.draining and await _waiting(shared) is not None
        return JSONResponse({"ready": fine}, status_code=200 if fine else 503)

    @router.get("/docs", include_in_schema=False)
    @router.get("/redoc", include_in_schema=False)
    @router.get(TARGET_OPENAPI, include_in_schema=False)
    async def target_page(request: Request) -> Response:
        return await _TargetPage.of(shared, request.url.path)

    return router


async def _target_reachable(shared: Shared) -> bool:
    """Any answer counts; none within a second and a half does not."""
    try:
        await _fetch(shared, b"/", timeout=_HEALTH_S)
    except UpstreamError as error:
        return error.kind == "large"
    return True


async def _waiting(shared: Shared) -> list[int] | None:
    """Waiting requests by level, None where Redis does not answer."""
    try:
        async with asyncio.timeout(_HEALTH_S):
            found = await shared.gauge()
    except TimeoutError:
        return None
    except PeakError:
        shared.upkeep.suspect()
        return None
    levels: list[int] = found["levels"]
    return levels


async def _fetch(shared: Shared, path: bytes, *, timeout: float) -> Upstream:
    request = Outgoing(b"GET", path, b"", True, False, _HEAD, b"")
    return await shared.client.request(shared.target, request, timeout=timeout, max_body=_MAX_PAGE)


class _TargetPage(Response):
    """A page of the target, sent as raw header pairs so that nothing is merged or added."""

    def __init__(self, found: Upstream | Problem, content: bytes = b"") -> None:
        super().__init__()
        self._found = found
        self._content = content

    @classmethod
    async def of(cls, shared: Shared, path: str) -> _TargetPage:
        source = b"/openapi.json" if path == TARGET_OPENAPI else path.encode()
        try:
            found = await _fetch(shared, source, timeout=shared.settings.upstream_timeout)
        except UpstreamError as error:
            return cls(of_upstream(error))
        if path == TARGET_OPENAPI:
            return cls(found, found.body)
        return cls(found, _bend(found))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        found = self._found
        if isinstance(found, Problem):
            await send_problem(scope, send, found)
            return
        headers = response_headers(
            found.headers, status=found.status, method=scope["method"], length=len(self._content)
        )
        if not own_server(scope):
            headers = [pair for pair in headers if pair[0] not in (b"date", b"server")]
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._content})


def _bend(found: Upstream) -> bytes:
    """The page with every link to the target's schema turned to ours.

    Unpacked first where the target packs what nobody asked it to pack; a coding that is not
    known, or a page that unpacks to more than 16 MiB, goes through as it is.
    """
    lines = [(name.lower(), value.lower()) for name, value in found.headers]
    codings = [value for name, value in lines if name == b"content-encoding"]
    body = found.body
    if codings in ([b"gzip"], [b"deflate"]):
        unpacked = _unpack(body)
        if unpacked is None:
            return body
        body = unpacked
        found.headers = [p for p in found.headers if p[0].lower() != b"content-encoding"]
    elif codings not in ([], [b"identity"]):
        return body
    return body.replace(b"/openapi.json", TARGET_OPENAPI.encode())


def _unpack(body: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(wbits=47)  # gzip or zlib, by its header
    try:
        page = unpacker.decompress(body, _MAX_PAGE)
    except zlib.error:
        return None
    return page if unpacker.eof else None
