"""`python -m tests.faults.native`: a program that uses `Queue`, as a load.

Kinds: `call`; `submit` and wait for the ticket's result; `keyed`, a call that is repeated under
its idempotency key where its fate is unknown; `cancel`, a call whose caller leaves; `bytes`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from typing import Any

from pyclient import Queue, RateLimiter, errors

from .history import Recorder
from .load import Load, Plan, Request
from .processes import end_with_conductor

_WORDS = {
    errors.StateLost: "state-lost",
    errors.TaskFailed: "failed",
    errors.TaskExpired: "expired",
    errors.TaskCancelled: "cancelled",
    errors.TaskLost: "lost",
    errors.TaskDead: "dead",
}
_ASK_AGAIN_S = 60.0
_ATTEMPTS = 10
_KEEP_S = 120.0


class Native:
    """Sends one request after the other through a queue."""

    def __init__(self, queue: Queue, plan: Plan, record: Recorder) -> None:
        self._queue = queue
        self._plan = plan
        self._record = record
        self._random = random.Random(plan.seed + 1)
        self._limiter: RateLimiter | None = None
        if plan.bucket:
            self._limiter = RateLimiter(queue, "load", rate=plan.bucket[0], burst=plan.bucket[1])

    async def send(self, request: Request) -> dict[str, Any]:
        """The fields of its end."""
        if self._limiter is not None and not await self._may(self._limiter):
            return {"word": "refused", "code": "LIMITED"}
        try:
            result = await getattr(self, f"_{request.kind}")(request)
            return {"word": "done", "got": result["n"]}
        except errors.Refused as error:
            return {"word": "refused", "code": type(error).__name__}
        except errors.Unavailable as error:
            return {"word": "unavailable", "unknown": error.unknown, "code": error.code}
        except errors.PeakError as error:
            return {"word": _WORDS[type(error)], "text": str(error)[:200]}
        except asyncio.CancelledError:
            return {"word": "cancelled"}

    async def _may(self, limiter: RateLimiter) -> bool:
        asked = time.monotonic_ns()
        try:
            verdict = await limiter.take()
        except errors.Unavailable:
            return False
        self._record("take", asked=asked, allowed=verdict.allowed)
        return verdict.allowed

    def _payload(self, request: Request) -> dict[str, Any]:
        plan = self._plan
        made: dict[str, Any] = {"n": request.n, "ms": request.ms}
        if plan.pad:
            made["pad"] = "x" * plan.pad
        if plan.how:
            made["how"] = plan.how
        return made

    async def _call(self, request: Request, key: str | None = None) -> Any:
        plan = self._plan
        return await self._queue.call(
            plan.route,
            self._payload(request),
            level=request.level,
            timeout=plan.deadline_s,
            key=key,
        )

    async def _keyed(self, request: Request) -> Any:
        end = time.monotonic() + self._plan.deadline_s - 1
        while True:
            try:
                return await self._call(request, key=request.n)
            except errors.Unavailable:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.1)

    async def _cancel(self, request: Request) -> Any:
        task = asyncio.ensure_future(self._call(request))
        await asyncio.wait([task], timeout=self._random.random() * request.ms / 500)
        if not task.done():
            self._record("leave", n=request.n)
            task.cancel()
        return await task

    async def _bytes(self, request: Request) -> Any:
        ms = int(self._plan.deadline_s * 500)
        body = json.dumps(self._payload(request)).encode()
        answer = await self._queue.exchange(
            "bytes", body, level=request.level, wait_ms=ms, run_ms=ms, attempts=_ATTEMPTS
        )
        return json.loads(answer)

    async def _submit(self, request: Request) -> Any:
        plan = self._plan
        ticket = await self._queue.submit(
            plan.route,
            self._payload(request),
            level=request.level,
            timeout=plan.deadline_s,
            keep=_KEEP_S,
        )
        self._record("admit", n=request.n, id=ticket.id)
        end = time.monotonic() + _ASK_AGAIN_S
        while True:
            try:
                return await ticket.result()
            except errors.Unavailable:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.1)


async def main() -> None:
    """Run the load."""
    record, plan = Recorder.of_environment(), Plan.of_environment()
    queue = Queue.from_url(os.environ["FAULTS_URL"], name=os.environ["FAULTS_QUEUE"])
    for _ in range(100):
        try:
            await queue.open()
            break
        except errors.Unavailable:
            await asyncio.sleep(0.1)
    async with queue:
        await Load(plan, record, Native(queue, plan, record).send).run()
        line = queue._engine.ready("pull")
        record("rest", left={"waiters in the client": len(line.inbox) if line else 0})


if __name__ == "__main__":
    end_with_conductor()
    asyncio.run(main())
