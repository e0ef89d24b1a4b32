"""What a handler is told about its task, and how it asks for another attempt."""

from __future__ import annotations

import time
from typing import Any


class Context:
    """The second argument of handlers that take two.

    `fence` rises with every lease of the queue: pass it on to what the handler writes to, so
    that a run whose lease has ended can be told from its successor. `deadline` is on the clock of
    `time.monotonic()`. `state` is what the worker's lifespan yielded (None in a process pool).
    """

    __slots__ = ("attempt", "deadline", "fence", "id", "level", "route", "state", "tenant")

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name is part of the contract
        route: str,
        level: int,
        tenant: str,
        attempt: int,
        fence: int,
        deadline: float,
        state: Any,
    ) -> None:
        self.id = id
        self.route = route
        self.level = level
        self.tenant = tenant
        self.attempt = attempt
        self.fence = fence
        self.deadline = deadline
        self.state = state

    def remaining(self) -> float:
        """Seconds until the handler is stopped; never below 0."""
        return max(0.0, self.deadline - time.monotonic())


class Retry(Exception):
    """Raise it in a handler to have the task run again, as long as attempts are left.

    `delay` is in seconds; None backs off by itself: up to 1 s after the first attempt, doubling up
    to 60 s, at random. After the last attempt the task ends as `dead` and is kept as a dead
    letter, with `reason`.
    """

    def __init__(self, delay: float | None = None, *, reason: str = "") -> None:
        super().__init__(reason or "the handler asked for another attempt")
        self.delay = delay
