"""The worker that needs no code: its one route forwards requests to the protected API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pyclient.http.envelope import MAX_HEAD
from pyclient.settings import Settings, redis_address

from .app import Worker
from .context import Context
from .http_route import Forwarder

ATTEMPTS = 255  # how often a request may be sent again is the gateway's to say
_MARGIN_S = 5.0


def make_worker(settings: Settings) -> Worker:
    """A worker with the route `http`, by the settings."""

    @asynccontextmanager
    async def lifespan(_: Worker) -> AsyncIterator[Forwarder]:
        forwarder = Forwarder(settings)
        try:
            yield forwarder
        finally:
            await forwarder.aclose()

    worker = Worker(
        settings.queue,
        url=redis_address(settings),
        prefix=settings.prefix,
        shards=settings.shards,
        lifespan=lifespan,
        concurrency=settings.worker_concurrency,
        drain_timeout=settings.drain_timeout,
        max_payload=settings.max_response + MAX_HEAD,
    )
    # The route bounds each call by itself and answers 504; this is for where it can't.
    timeout = settings.connect_timeout + settings.upstream_timeout + _MARGIN_S

    @worker.route("http", attempts=ATTEMPTS, timeout=timeout, raw=True)
    async def http(envelope: bytes, context: Context) -> bytes:
        forwarder: Forwarder = context.state
        return await forwarder.forward(envelope, context)

    return worker
