"""From the value of a task to its result, or to the error that its outcome stands for."""

from __future__ import annotations

import logging

from .codec import MAX_BYTES
from .connection import Connection
from .errors import (
    BadPayload,
    PeakError,
    StateLost,
    TaskCancelled,
    TaskDead,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskLost,
)
from .keys import Keys
from .model import Outcome

log = logging.getLogger("pyclient.outcome")

DONE = b"done\n"
"""How the value of a task that was done begins."""

_ERRORS: dict[str, tuple[type[TaskError], str]] = {
    "failed": (TaskFailed, "the handler failed"),
    "expired": (TaskExpired, "not served before its deadline"),
    "cancelled": (TaskCancelled, "cancelled"),
    "lost": (TaskLost, "its worker was lost and no attempt was left"),
    "dead": (TaskDead, "given up after its last attempt"),
}


def error_of(task_id: str, outcome: Outcome) -> PeakError:
    """The exception for an outcome other than `done`."""
    known = _ERRORS.get(outcome.word)
    if known is None:
        return BadPayload(f"task {task_id} ended with the unknown outcome {outcome.word!r}")
    kind, text = known
    said = outcome.body.decode("utf-8", "replace")
    return kind(said or text, task_id=task_id)


def answer_of(task_id: str, value: bytes) -> bytes:
    """What a `done` value bears, inline or by reference; raises what another outcome stands for."""
    if value.startswith(DONE):
        return value[len(DONE) :]
    raise error_of(task_id, Outcome.of(value))


class Bodies:
    """Bodies too large for the scripts travel by plain SET and GET on the second connection."""

    def __init__(self, conn: Connection, keys: Keys, max_bytes: int = MAX_BYTES) -> None:
        self._conn = conn
        self._keys = keys
        self._max = max_bytes

    def check(self, body: bytes) -> None:
        """Raises BadPayload for one that is too large."""
        if len(body) > self._max:
            raise BadPayload(
                f"the payload has {len(body)} bytes, expected at most {self._max}: "
                "store it elsewhere and pass a reference, or raise max_payload"
            )

    async def put(self, task_id: str, body: bytes, ttl_ms: int, *, timeout: float = 30.0) -> bytes:
        """Store a large request body; returns what travels through the script."""
        self.check(body)
        key = self._keys.request_body(task_id)
        await self._conn.command(b"SET", key, body[1:], b"PX", ttl_ms, timeout=timeout)
        return body[:1].upper()

    async def result(self, task_id: str, value: bytes, *, timeout: float = 30.0) -> bytes:
        """The inline body of a `done` value; raises what another outcome stands for."""
        body = answer_of(task_id, value)
        return await self.fetch(task_id, body, timeout=timeout) if is_large(body) else body

    async def fetch(self, task_id: str, body: bytes, *, timeout: float = 30.0) -> bytes:
        """The answer that `body` stands for. Raises StateLost where it is gone."""
        key = self._keys.answer_body(task_id)
        data: bytes | None = await self._conn.command(b"GET", key, timeout=timeout)
        if data is None:
            raise StateLost(f"the answer of task {task_id} is gone", task_id=task_id)
        return body[:1].lower() + data

    async def drop(self, task_id: str, *, answer: bool = True) -> None:
        """Remove the large bodies of a task that nobody needs any more, or that of its request
        alone. Where Redis can't be reached, their TTL does it."""
        keys = [self._keys.request_body(task_id)]
        if answer:
            keys.append(self._keys.answer_body(task_id))
        try:
            await self._conn.command(b"UNLINK", *keys)
        except PeakError as error:
            log.debug("bodies of %s stay until their time is over: %s", task_id, error)


def is_large(body: bytes) -> bool:
    """Whether a body travels by reference."""
    return body[:1] in (b"M", b"R")
