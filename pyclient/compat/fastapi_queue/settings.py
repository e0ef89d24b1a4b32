"""What of PEAK_* matters here, and what these names want of a queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyclient.codec import MAX_BYTES
from pyclient.engine import Engine
from pyclient.settings import Settings, load

LEASE_S = 5.0
"""Here shorter than elsewhere: what a gateway held that was killed is back after one or two
leases, and clients of these names wait for fifteen seconds at most unless they say otherwise."""


class CompatSettings(NamedTuple):
    """The queue, and how a node sets it up."""

    queue: str
    prefix: str
    drain_timeout: float
    configure: Mapping[str, str | int]

    @classmethod
    def read(cls, settings: Settings | None = None) -> CompatSettings:
        """Read the environment and `.env`. Raises ConfigError.

        Levels filter nodes and are no order, so the step between them is 0, unless PEAK_LEVEL_STEP
        asks for one. Each route is bounded by its limit, so the queue is not, unless
        PEAK_MAX_QUEUE says so.
        """
        found = settings or load()
        given = found.origins
        lease = found.lease if "PEAK_LEASE" in given else LEASE_S
        step: str | int = 0
        if "PEAK_LEVEL_STEP" in given:
            step = "strict" if found.level_step is None else round(found.level_step * 1000)
        configure: dict[str, str | int] = {
            "mode": "pull",
            "level_step_ms": step,
            "lease_ms": round(lease * 1000),
            "capacity": found.max_queue if "PEAK_MAX_QUEUE" in given else 0,
        }
        return cls(found.queue, found.prefix, found.drain_timeout, configure)

    def engine(self, address: str) -> Engine:
        """What stands behind the queue, not opened yet."""
        return Engine(address, self.queue, self.prefix, MAX_BYTES)
