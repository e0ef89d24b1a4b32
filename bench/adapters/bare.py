"""Our scripts without our client: what the same conversation reaches over the leanest client.

The submitter admits what has gathered, 64 at most, and reads its inbox; the worker publishes a
batch and gets the next with it. No payload is encoded, nothing is timed, renewed or sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bench.harness.bare import Arg, Bare
from bench.harness.contract import Base, tick
from pyclient.keys import Keys, new_caller_id, new_task_id

BATCH = 64
PROFILE: tuple[Arg, ...] = (3, "route-name-0", "", 600_000, 30_000, 0, 3, 0, "")
KEPT: tuple[Arg, ...] = (3, "route-name-0", "", 600_000, 30_000, 0, 3, 60, "")


class Adapter(Base):
    """The same numbered calls that `peakshaver` makes."""

    def run_worker(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        bare = await Bare.open(self.port)
        shas = await bare.load("claim", "publish")
        keys, me, number = Keys("peak", "bench"), new_caller_id(), 1
        head = (b"EVALSHA", shas["claim"], 1, keys.base, me)
        leased = (await bare.call(*head, number, BATCH, 9))[3]
        while True:
            number += 1
            if not leased:
                await bare.call(b"BLPOP", keys.told(me), keys.wake(9), 10)
                leased = (await bare.call(*head, number, BATCH, 9))[3]
                continue
            outcomes: list[Arg] = []
            for at in range(0, len(leased), 8):
                tick()
                outcomes += (leased[at], leased[at + 1], b"done", leased[at + 7])
            reply = await bare.call(
                b"EVALSHA", shas["publish"], 1, keys.base, me, number, BATCH, 9, *outcomes
            )
            leased = reply[4]

    async def open(self, concurrency: int) -> None:
        self._keys, self._me, self._number = Keys("peak", "bench"), new_caller_id(), 0
        self._line, self._reader = await Bare.open(self.port), await Bare.open(self.port)
        self._shas = await self._line.load("admit", "attach")
        self._last: bytes = b"0"
        self._gathered: list[tuple[str, bytes]] = []
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._busy = False
        await self._attach()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._keep())]

    async def _attach(self) -> None:
        await self._line.call(b"EVALSHA", self._shas["attach"], 1, self._keys.base, self._me)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(4)
            await self._attach()

    async def _read(self) -> None:
        key = self._keys.inbox(self._me)
        while True:
            block = (b"COUNT", 4, b"BLOCK", 1000, b"STREAMS")
            reply = await self._reader.call(b"XREAD", *block, key, self._last)
            for self._last, pairs in reply[0][1] if reply else ():
                for at in range(0, len(pairs), 2):
                    future = self._waiting.pop(pairs[at], None)
                    if future is not None:
                        future.set_result(pairs[at + 1])

    async def call(self, payload: str) -> str:
        task_id = new_task_id()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[task_id.encode()] = future
        self._gathered.append((task_id, payload.encode()))
        if not self._busy:
            self._send()
        return (await future).partition(b"\n")[2].decode()

    def _send(self, _: object = None) -> None:
        self._busy = bool(self._gathered)
        if not self._busy:
            return
        batch, self._gathered = self._gathered[:BATCH], self._gathered[BATCH:]
        self._admit(PROFILE, batch).add_done_callback(self._send)

    def _admit(
        self, profile: tuple[Arg, ...], batch: Sequence[tuple[str, bytes]]
    ) -> asyncio.Future[Any]:
        self._number += 1
        args: list[Arg] = [self._me, self._number, "pull", self._last, 0, 1, *profile]
        for task in batch:
            args += (1, *task)
        return self._line.call(b"EVALSHA", self._shas["admit"], 1, self._keys.base, *args)

    async def enqueue(self, payloads: Sequence[str]) -> None:
        sent = []
        for start in range(0, len(payloads), BATCH):
            some = [(new_task_id(), one.encode()) for one in payloads[start : start + BATCH]]
            sent.append(self._admit(KEPT, some))
            if len(sent) >= 8:
                await sent.pop(0)
        await asyncio.gather(*sent)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._line.close()
        self._reader.close()
