"""The built-in route `http`: sends a request that waited in the line on to the target.

Takes and gives envelopes (`pyclient.http.envelope`). A target that gives no answer is an answer
too, with 502 or 504 and a word for the reason, so that the gateway can say what happened; only
an envelope that is malformed, or cancellation, ends the task without one.
"""

from __future__ import annotations

import logging
import time

from pyclient.errors import ConfigError
from pyclient.http.client import HttpClient, tls_context
from pyclient.http.envelope import Request, read_request, write_answer, write_failure
from pyclient.http.errors import BadEnvelope, UpstreamError
from pyclient.http.redirects import next_request
from pyclient.http.sinks import Response
from pyclient.http.target import Target
from pyclient.settings import Settings, load

log = logging.getLogger("worker_app.http_route")

_KNOWN_TARGETS = 64


class Forwarder:
    """One pool of connections, and the rule which target may be called.

    Where the worker has FAST_PRIORITY_TARGET_BASE_URL, that is the only address it ever calls.
    Without it the worker believes the gateway's, as in fast-priority: whoever can write to Redis
    then chooses what is called.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.upstream_timeout
        self._max_response = settings.max_response
        self._redirects = settings.follow_redirects
        url = settings.target_base_url
        self._own = Target.parse(url) if url is not None else None
        self._targets: dict[bytes, Target] = {}
        tls = tls_context(settings.target_ca) if settings.target_ca else None
        self._client = HttpClient(connect_timeout=settings.connect_timeout, tls=tls)

    async def forward(self, envelope: bytes, context: object = None) -> bytes:
        """Send the request on and return the answer's envelope; raises BadEnvelope."""
        began = time.perf_counter_ns()
        request = read_request(envelope)
        target = self._own or self._target(request.base)
        try:
            response = await self._follow(target, request)
        except UpstreamError as error:
            log.warning("a request was not answered: %s", error)
            return write_failure(error, took_us=(time.perf_counter_ns() - began) // 1000)
        return write_answer(
            status=response.status,
            took_us=(time.perf_counter_ns() - began) // 1000,
            reason=response.reason,
            headers=response.headers,
            body=response.body,
        )

    async def _follow(self, target: Target, request: Request) -> Response:
        end = time.monotonic() + self._timeout
        for left in range(self._redirects, -1, -1):
            response = await self._client.request(
                target, request, timeout=end - time.monotonic(), max_body=self._max_response
            )
            following = next_request(target, request, response) if left else None
            if following is None:
                break
            request = following
        return response

    def _target(self, base: bytes) -> Target:
        found = self._targets.get(base)
        if found is None:
            if len(self._targets) >= _KNOWN_TARGETS:
                self._targets.clear()
            try:
                found = Target.parse(base.decode("ascii"))
            except ConfigError as error:
                raise BadEnvelope(f"the target of the envelope is no address: {error}") from None
            self._targets[base] = found
        return found

    async def aclose(self) -> None:
        """Drop all connections to targets."""
        await self._client.aclose()


_forwarder: Forwarder | None = None


async def forward(envelope: bytes, context: object = None) -> bytes:
    """`Forwarder.forward` with one pool for the process, by the settings of the environment."""
    global _forwarder
    if _forwarder is None:
        _forwarder = Forwarder(load())
    return await _forwarder.forward(envelope, context)
