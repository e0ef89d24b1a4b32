"""From the value of a task to its result, or to the error that its outcome stands for."""

from __future__ import annotations

from .codec import INLINE_BYTES, MAX_BYTES
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


class Bodies:
    """Bodies too large for the scripts travel by plain SET and GET on the second connection."""

    def __init__(self, conn: Connection, keys: Keys, max_bytes: int = MAX_BYTES) -> None:
        self._conn = conn
        self._keys = keys
        self._max = max_bytes

    async def put(self, task_id: str, body: bytes, ttl_ms: int) -> bytes:
        """Store a large request body; returns what travels through the script."""
        if len(body) <= INLINE_BYTES:
            return body
        if len(body) > self._max:
            raise BadPayload(
                f"the payload has {len(body)} bytes, expected at most {self._max}: "
                "store it elsewhere and pass a reference, or raise max_payload"
            )
        key = self._keys.request_body(task_id)
        await self._conn.command(b"SET", key, body[1:], b"PX", ttl_ms, timeout=30.0)
        return body[:1].upper()

    async def result(self, task_id: str, value: bytes, *, keep: bool = False) -> bytes:
        """The inline body of a `done` value; raises what another outcome stands for.

        A large answer is read once and, unless kept, removed with its request.
        """
        outcome = Outcome.of(value)
        if outcome.word != "done":
            raise error_of(task_id, outcome)
        if outcome.body[:1] not in (b"M", b"R"):
            return outcome.body
        key = self._keys.answer_body(task_id)
        data: bytes | None = await self._conn.command(b"GET", key, timeout=30.0)
        if data is None:
            raise StateLost(f"the answer of task {task_id} is gone", task_id=task_id)
        if not keep:
            await self.drop(task_id)
        return outcome.body[:1].lower() + data

    async def drop(self, task_id: str) -> None:
        """Remove the large bodies of a task that has ended."""
        keys = (self._keys.request_body(task_id), self._keys.answer_body(task_id))
        await self._conn.command(b"UNLINK", *keys)
