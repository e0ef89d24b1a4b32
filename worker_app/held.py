"""A task as this process holds it, from the claim to the reply of its publish."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import time
from typing import Any, Literal, TypeAlias

from pyclient.model import Leased

from .routes import Route

Stop: TypeAlias = Literal["", "late", "told", "lost", "stopped"]
"""Why a handler is being stopped: past its deadline, cancelled, lease lost, worker stops."""

NEVER = math.inf


class Held:
    """One lease. `look` is when the watch over deadlines looks at it next.

    `reported` says that its outcome is decided: whatever the handler still does changes nothing.
    The slot of this process is free only when the handler has really ended.
    """

    __slots__ = (
        "called",
        "deadline",
        "entered",
        "future",
        "leased",
        "limit",
        "look",
        "renewed",
        "reported",
        "route",
        "since",
        "stop",
        "stuck",
        "task",
    )

    def __init__(self, leased: Leased, route: Route, since: float) -> None:
        hard = leased.hard_left_ms * 0.001
        # The outcome has to arrive before the hard deadline, when a sweep ends the lease.
        margin = hard * 0.1 if hard < 2.5 else 0.25
        self.leased = leased
        self.route = route
        self.since = since
        self.renewed = since
        self.limit = min(route.timeout, hard)
        self.deadline = self.look = since + min(route.timeout, hard - margin)
        self.stop: Stop = ""
        self.entered = False
        self.called = False
        self.reported = False
        self.stuck = False
        self.task: asyncio.Task[Any] | None = None
        self.future: concurrent.futures.Future[Any] | None = None

    def left_s(self) -> float:
        """Seconds until the lease can't be renewed any more."""
        return self.since + self.leased.hard_left_ms * 0.001 - time.monotonic()

    @property
    def fence(self) -> int:
        """Unlike the id unique among everything that this process holds."""
        return self.leased.fence
