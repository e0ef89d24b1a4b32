"""What all requests of one gateway process share: the queue, the target, the rules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math

from pyclient.errors import ConfigError, PeakError
from pyclient.http.client import HttpClient
from pyclient.http.headers import RequestRules
from pyclient.http.paths import PathRules
from pyclient.http.target import Target
from pyclient.queue import Queue
from pyclient.settings import Settings, redact, redis_address

from .guard import Guard
from .logs import LOGGER, fields

_ENVELOPE_HEAD = 3 * 1024 * 1024
ROUTE = "http"
"""The route of proxied requests, in both modes."""
_RETRY_S = 1.0
_CHECK_S = 1.0
_OVER_RUN_S = 2.0
"""How much later than the upstream's time-out the lease of a request ends: the 504 must get out."""


class Shared:
    """Made once a process; `start` and `stop` are the application's lifespan."""

    def __init__(self, settings: Settings) -> None:
        if settings.target_base_url is None:
            raise ConfigError(
                "FAST_PRIORITY_TARGET_BASE_URL is not set: expected the address of the API "
                "behind the line, as http://localhost:9000"
            )
        self.settings = settings
        self.target = Target.parse(settings.target_base_url)
        self.log = logging.getLogger(LOGGER)
        self.rules = RequestRules(settings.trusted_proxies)
        self.paths = PathRules(
            listed=settings.prio_paths,
            bases=settings.prio_base_paths,
            pass_through=settings.pass_through,
            high_is_listed=settings.high_prio_paths == "listed",
            normalize=settings.normalize_paths,
        )
        self.guard = Guard(settings)
        self.client = HttpClient(connect_timeout=settings.connect_timeout)
        self.address = redis_address(settings)
        largest = max(settings.max_body, settings.max_response) + _ENVELOPE_HEAD
        self.queue = Queue(self.address, settings.queue, settings.prefix, max_payload=largest)
        self.wait_ms = math.ceil(settings.ttl * 1000)
        self.run_ms = math.ceil((settings.upstream_timeout + _OVER_RUN_S) * 1000)
        self.draining = False
        self._maintenance: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve; Redis may come later."""
        for note in self.settings.notes:
            self.log.warning(note)
        self.log.info(
            "gateway starts",
            extra=fields(
                target=str(self.target),
                redis=redact(self.address),
                queue=self.settings.queue,
                mode=self.settings.mode,
            ),
        )
        self._maintenance = asyncio.create_task(self._maintain())

    def drain(self) -> None:
        """From now on not ready; what runs goes on."""
        self.draining = True
        self.log.info("gateway drains", extra=fields(seconds=self.settings.drain_timeout))

    async def stop(self) -> None:
        """Close what is open."""
        self.draining = True
        if self._maintenance is not None:
            self._maintenance.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._maintenance
        await self.client.aclose()
        await self.queue.aclose()

    async def _maintain(self) -> None:
        """Write our settings of the queue, and again whenever Redis comes back without them."""
        configured = False
        failed = False
        while True:
            try:
                async with asyncio.timeout(5):
                    if not configured or await self._forgotten():
                        await self._configure()
                    configured = True
                if failed:
                    self.log.info("the queue is back")
                failed = False
            except (PeakError, TimeoutError) as error:
                if not failed:
                    self.log.error("the queue can't be reached", extra=fields(error=str(error)))
                failed = True
            await asyncio.sleep(_RETRY_S if failed else _CHECK_S)

    async def _forgotten(self) -> bool:
        """Whether Redis has lost the capacity that we set."""
        found = await self.queue.gauge()
        return bool(self.settings.max_queue) and found["capacity"] == 0

    async def _configure(self) -> None:
        settings = self.settings
        limit = settings.concurrency or 0
        step: float | str = "strict" if settings.level_step is None else settings.level_step
        await self.queue.configure(
            limit=limit,
            slots=limit,
            capacity=settings.max_queue,
            lease=settings.lease,
            level_step=step,
        )
