"""What all requests of one gateway process share: the queue, the target, the rules."""

from __future__ import annotations

import logging
import math
from typing import Any

from pyclient.connection import parse_address
from pyclient.errors import ConfigError
from pyclient.http.client import HttpClient, tls_context
from pyclient.http.headers import RequestRules
from pyclient.http.paths import PathRules
from pyclient.http.target import Target
from pyclient.queue import Queue
from pyclient.settings import Settings, redact, redis_address

from .guard import Guard
from .logs import LOGGER, fields
from .upkeep import Upkeep

_ENVELOPE_HEAD = 3 * 1024 * 1024
ROUTE = "http"
"""The route of proxied requests, in both modes."""
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
        tls = tls_context(settings.target_ca) if self.target.tls else None
        self.client = HttpClient(connect_timeout=settings.connect_timeout, tls=tls)
        self.address = redis_address(settings)
        parse_address(self.address)  # a Redis that is away may come, a wrong address stays wrong
        largest = max(settings.max_body, settings.max_response) + _ENVELOPE_HEAD
        self.queue = Queue(
            self.address,
            settings.queue,
            settings.prefix,
            max_payload=largest,
            shards=settings.shards,
        )
        self.positions = self.queue.positions(slots=settings.mode == "hold")
        self.wait_ms = math.ceil(settings.ttl * 1000)
        self.run_ms = math.ceil((settings.upstream_timeout + _OVER_RUN_S) * 1000)
        self.draining = False
        self.upkeep = Upkeep(self.queue, self.gauge, settings)

    async def gauge(self) -> dict[str, Any]:
        """Who waits: in hold mode turns are given by the sister queue."""
        return await self.queue.gauge(slots=self.settings.mode == "hold")

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
        await self.upkeep.start()

    def drain(self) -> None:
        """From now on not ready; what runs goes on."""
        self.draining = True
        self.log.info("gateway drains", extra=fields(seconds=self.settings.drain_timeout))

    async def stop(self) -> None:
        """Close what is open."""
        self.draining = True
        self.positions.close()
        await self.upkeep.stop()
        await self.client.aclose()
        await self.queue.aclose()
