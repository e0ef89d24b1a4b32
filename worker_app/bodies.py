"""Large bodies travel beside the scripts, by plain GET and SET on the second connection."""

from __future__ import annotations

import asyncio
import contextlib

from pyclient.codec import INLINE_BYTES, MAX_BYTES
from pyclient.connection import Backoff, Connection
from pyclient.errors import BadPayload, PeakError, Unavailable
from pyclient.keys import Keys

SPARE_S = 60.0
"""Past its lease an answer is of no use. Once published it lives as long as its value: the script
sees to that, and who waited for it removes it."""


class LargeBodies:
    """Bodies of tasks that are too large for the scripts."""

    def __init__(self, conn: Connection, keys: Keys, max_bytes: int = MAX_BYTES) -> None:
        self._conn = conn
        self._keys = keys
        self._max = max_bytes
        self._dropping: set[asyncio.Task[None]] = set()

    async def get_request(self, task_id: str, body: bytes) -> bytes:
        """The inline form of a body that travelled by reference. Raises BadPayload."""
        data: bytes | None = None
        backoff = Backoff()
        while True:
            try:
                data = await self._conn.command(
                    b"GET", self._keys.request_body(task_id), timeout=30.0
                )
                break
            except Unavailable:  # the deadline of the task ends this
                await backoff.sleep()
        if data is None:
            raise BadPayload("its body is gone: it was removed, or its time in Redis was over")
        return body[:1].lower() + data

    async def put_answer(self, task_id: str, answer: bytes, left_s: float) -> bytes:
        """Store an answer, published within `left_s`; returns what goes through the script."""
        if len(answer) <= INLINE_BYTES:
            return answer
        if len(answer) > self._max:
            raise BadPayload(
                f"the result has {len(answer)} bytes, expected at most {self._max}: store it "
                "elsewhere and return a reference"
            )
        key = self._keys.answer_body(task_id)
        ttl_ms = int((max(left_s, 0.0) + SPARE_S) * 1000)
        backoff = Backoff()
        while True:
            try:
                await self._conn.command(b"SET", key, answer[1:], b"PX", ttl_ms, timeout=30.0)
                return answer[:1].upper()
            except Unavailable:
                await backoff.sleep()

    def drop_request(self, task_id: str) -> None:
        """Remove what has been read, on the side: its memory is needed for the answer."""
        task = asyncio.get_running_loop().create_task(self._drop(self._keys.request_body(task_id)))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def _drop(self, key: bytes) -> None:
        with contextlib.suppress(PeakError):  # else its sender removes it, or its TTL
            await self._conn.command(b"UNLINK", key)

    async def drop_answer(self, task_id: str) -> None:
        """Remove an answer that nobody will get."""
        await self._conn.command(b"UNLINK", self._keys.answer_body(task_id))
