"""Answers of the gateway itself: application/problem+json (RFC 9457) with an honest Retry-After.

No text of an exception that could hold an address, a header or a body gets into an answer; a
problem says what happened, and when to come back where coming back helps.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field

from pyclient import errors
from pyclient.http.errors import UpstreamError
from pyclient.http.headers import SERVER, Pairs, http_date

from .asgi import Receive, Scope, Send

_REGISTRY = "https://iana.org/assignments/http-problem-types#"
_TYPES = {429: f"{_REGISTRY}quota-exceeded", 503: f"{_REGISTRY}temporary-reduced-capacity"}
_TITLES = {
    400: "Bad request",
    408: "Request timeout",
    413: "Content too large",
    414: "URI too long",
    421: "Misdirected request",
    429: "Too many requests",
    431: "Request header fields too large",
    500: "Internal error",
    501: "Not implemented",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}
_DEFAULT_RETRY = {429: 1.0, 503: 5.0}
_UPSTREAM_TITLES = {
    "connect": "The target can't be reached",
    "timeout": "The target is too slow",
    "large": "The target's answer is too large",
    "broke": "The target broke off",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer; `code` is a short word for logs, `close` ends the connection after it."""

    status: int
    code: str
    detail: str
    title: str = ""
    retry_after: float | None = None
    close: bool = False
    extra: dict[str, object] = field(default_factory=dict)

    def retry_seconds(self) -> int | None:
        """Retry-After in whole seconds: rounded up, and up to a fifth later, to spread a herd."""
        wait = self.retry_after
        if wait is None:
            wait = _DEFAULT_RETRY.get(self.status)
        if wait is None:
            return None
        return max(1, math.ceil(wait * (1.0 + random.random() / 5)))


def of_upstream(error: UpstreamError) -> Problem:
    """A target that gave no answer."""
    return of_kind(error.kind, error.status, str(error))


def of_kind(kind: str, status: int, detail: str) -> Problem:
    """As `of_upstream`, from what an envelope says."""
    return Problem(status, f"upstream-{kind}", detail, title=_UPSTREAM_TITLES.get(kind, ""))


def _refused(code: str, title: str, retry_after: float | None) -> Problem:
    return Problem(503, code, f"{title}; try again later.", title=title, retry_after=retry_after)


UNAVAILABLE = _refused("unavailable", "The queue can't be reached", None)


def of_queue(error: errors.PeakError, *, worker_seen: bool = True) -> Problem:
    """A request that the line did not carry. `worker_seen`: whether any worker claims lately."""
    match error:
        case errors.QueueFull():
            return _refused("full", "The line is full", error.retry_after)
        case errors.TooLate():
            return _refused("late", "The line is too long to answer in time", error.retry_after)
        case errors.QueueClosed():
            return _refused("closed", "The line is closed", error.retry_after)
        case errors.RateLimited():
            detail = "The rate limit is used up."
            return Problem(429, "limited", detail, retry_after=error.retry_after)
        case errors.TaskExpired() if worker_seen:
            return Problem(504, "expired", "The request waited in the line until its time was up.")
        case errors.TaskExpired():
            detail = "The request waited until its time was up, and no worker was there to take it."
            return Problem(503, "no-worker", detail, title="No worker is at work")
        case errors.TaskLost():
            return Problem(502, "lost", "The worker that held the request vanished.")
        case errors.TaskCancelled():
            return Problem(503, "cancelled", "The request was taken out of the line.")
        case errors.TaskFailed() | errors.TaskDead():
            return Problem(502, "failed", "The worker could not send the request on.")
        case errors.BadPayload():
            return Problem(502, "payload", "The request or its answer can't be carried.")
        case errors.StateLost():
            return _refused("state-lost", "The queue lost its data", None)
        case _:
            return UNAVAILABLE


LATE = frozenset({"expired", "no-worker"})
"""Codes of requests that waited until their time was up."""
STOPPING = Problem(503, "stopping", "The gateway is shutting down.", retry_after=1.0, close=True)


async def send_problem(scope: Scope, send: Send, problem: Problem, more: Pairs = ()) -> None:
    """Send a problem as the whole answer, with `more` header lines."""
    scope["peak.said"] = problem.detail
    retry = problem.retry_seconds()
    body: dict[str, object] = {
        "type": _TYPES.get(problem.status, "about:blank"),
        "title": problem.title or _TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **problem.extra,
    }
    if retry is not None:
        body["retry_after_s"] = retry
    content = json.dumps(body, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(content)),
        (b"cache-control", b"no-store"),
        *more,
    ]
    if retry is not None:
        headers.append((b"retry-after", b"%d" % retry))
    if problem.close:
        headers.append((b"connection", b"close"))
    if own_server(scope):
        headers += [(b"date", http_date()), SERVER]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


_BARE_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
}


def bare_answer(status: int) -> bytes:
    """The bytes of an answer to what was never a request; the connection closes after it."""
    headers, body = _bare(status)
    lines = [b"HTTP/1.1 %d %b" % (status, _BARE_REASONS[status])]
    lines += [b"%b: %b" % pair for pair in headers]
    return b"\r\n".join([*lines, b"", body])


async def send_bare(status: int, scope: Scope, receive: Receive, send: Send) -> None:
    """The same as an ASGI application, for one that others are before."""
    headers, body = _bare(status)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _bare(status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    title = _BARE_REASONS[status].decode()
    body = json.dumps({"type": "about:blank", "title": title, "status": status}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"date", http_date()),
        SERVER,
        (b"connection", b"close"),
    ]
    return headers, body


def own_server(scope: Scope) -> bool:
    """Whether Date and Server are ours to write: any other server than ours writes its own."""
    return "peak.target" in scope.get("extensions", ())
