"""What a client over HTTP is told of an error: application/problem+json (RFC 9457).

429 is the client's quota, 503 our capacity, 504 out of time, 502 a worker that vanished, 500 a
handler that failed. No text of a handler's exception gets out: it is in the log of whoever asks.
"""

from __future__ import annotations

import json
import math
import random
from typing import NamedTuple

from .errors import (
    PeakError,
    QueueClosed,
    QueueFull,
    RateLimited,
    Refused,
    StateLost,
    TaskCancelled,
    TaskDead,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskLost,
    TooLate,
    Unavailable,
)

_REGISTRY = "https://iana.org/assignments/http-problem-types#"
_TYPES = {429: f"{_REGISTRY}quota-exceeded", 503: f"{_REGISTRY}temporary-reduced-capacity"}
_RETRY_S = {429: 1.0, 503: 5.0}
# The first class that fits, so leaves come before their base.
_TABLE: tuple[tuple[type[PeakError], tuple[int, str, str]], ...] = (
    (RateLimited, (429, "limited", "The rate limit is used up")),
    (QueueFull, (503, "full", "The line is full")),
    (TooLate, (503, "late", "The line is too long to answer in time")),
    (QueueClosed, (503, "closed", "The line is closed")),
    (Refused, (503, "refused", "Not admitted")),
    (TaskExpired, (504, "expired", "The request waited until its time was up")),
    (TaskLost, (502, "lost", "The worker that held the request vanished")),
    (TaskCancelled, (503, "cancelled", "The request was taken out of the line")),
    (TaskFailed, (500, "failed", "The work failed")),
    (TaskDead, (500, "dead", "The work failed in every attempt")),
    (StateLost, (503, "state-lost", "The queue lost its data")),
    (Unavailable, (503, "unavailable", "The queue can't be reached")),
    (PeakError, (500, "error", "Internal error")),
)


class Problem(NamedTuple):
    """One answer. `retry_after` is in whole seconds, None where coming back doesn't help."""

    status: int
    code: str
    title: str
    retry_after: int | None = None
    task_id: str = ""

    @property
    def body(self) -> bytes:
        """The answer as JSON."""
        members: dict[str, object] = {
            "type": _TYPES.get(self.status, "about:blank"),
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.retry_after is not None:
            members["detail"] = f"{self.title}; try again in {self.retry_after} s."
            members["retry_after_s"] = self.retry_after
        if self.task_id:
            members["task_id"] = self.task_id
        return json.dumps(members).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The header fields that belong to it, Content-Length apart."""
        fields = {"content-type": "application/problem+json", "cache-control": "no-store"}
        if self.retry_after is not None:
            fields["retry-after"] = str(self.retry_after)
        return fields


def problem_of(error: PeakError) -> Problem:
    """What to answer where `error` ended a request."""
    status, code, title = next(row for kind, row in _TABLE if isinstance(error, kind))
    wait = error.retry_after if isinstance(error, Refused) else None
    if wait is None and not isinstance(error, RateLimited):
        wait = _RETRY_S.get(status)
    # A quota is exact; others come back over a while, lest they meet again.
    spread = 1.0 if status == 429 else 1.0 + random.random() / 5
    retry = None if wait is None else max(1, math.ceil(wait * spread))
    task_id = error.task_id if isinstance(error, TaskError) else ""
    return Problem(status, code, title, retry, task_id)
