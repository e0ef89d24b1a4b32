"""Stand-ins below the engine of the client, for what real servers do too seldom.

Used only where the order of events is the point; everything else is tested on real servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pyclient.blocking import Reader
from pyclient.entry import Entry
from pyclient.keys import Keys, new_task_id
from pyclient.line import Line
from pyclient.model import Admitted, Attached, Grant, Profile, Published, Told

PROFILE = Profile(3, "route", "", 1000, 1000, 0, 1, 0)


class FakeCommands:
    """Answers from lists of replies or exceptions by verb, then with what a calm Redis says."""

    def __init__(self) -> None:
        self.keys = Keys("peak", "q")
        self.log: list[tuple[str, Any]] = []
        self.next: dict[str, list[Any]] = {}
        self.states: dict[str, bytes] = {}
        self.gates: dict[str, asyncio.Event] = {}

    async def _answer(self, verb: str, what: Any, calm: Callable[[], Any]) -> Any:
        self.log.append((verb, what))
        await asyncio.sleep(0)
        if verb in self.gates:
            await self.gates[verb].wait()
        replies = self.next.get(verb)
        reply = replies.pop(0) if replies else calm()
        if isinstance(reply, BaseException):
            raise reply
        return reply(what) if callable(reply) else reply

    def sent(self, verb: str) -> list[Any]:
        """What was sent by this verb."""
        return [what for one, what in self.log if one == verb]

    async def admit(self, caller: str, number: int, *rest: Any) -> Any:
        ids = [task_id for _, task_id, _ in rest[-1]]
        return await self._answer("admit", ids, lambda: admitted("OK", count=len(ids)))

    async def publish(
        self, caller: str, number: int, limit: int, level: int, outcomes: Any, *, hold: bool
    ) -> Any:
        ids = [outcome[0] for outcome in outcomes]
        return await self._answer(
            "publish", ids, lambda: Published(0, False, ["OK"] * len(ids), [], [])
        )

    async def cancel(self, caller: str, number: int, reason: str, ids: Sequence[str]) -> Any:
        calm: Any = (Told(0, False, ["CANCELLED"] * len(ids)), [])
        return await self._answer("cancel", list(ids), lambda: calm)

    async def attach(self, caller: str, ids: Sequence[str] = ()) -> Any:
        values = [self.states.get(one, b"waiting") for one in ids]
        return await self._answer(
            "attach", list(ids), lambda: Attached(False, 15000, b"0-1", values)
        )

    async def fetch(self, what: str, ids: Sequence[str]) -> Any:
        return await self._answer(
            "fetch", list(ids), lambda: [self.states.get(one, b"gone") for one in ids]
        )

    async def sweep(self) -> Any:
        return await self._answer("sweep", None, lambda: (0, False))

    async def renew(self, caller: str, leases: Sequence[tuple[str, int]]) -> Any:
        return await self._answer(
            "renew", list(leases), lambda: Told(0, False, ["OK"] * len(leases))
        )


class FakeReader(Reader):
    """A stream that the test writes: entries are lists of (id, value); exceptions are raised."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.written = asyncio.Event()
        self.closed = False
        self.asked: list[bytes] = []
        self.number = 0

    def post(self, *pairs: tuple[str, bytes]) -> None:
        """One entry."""
        self.entries.append([part for one, value in pairs for part in (one.encode(), value)])
        self.written.set()

    def fail(self, error: Exception) -> None:
        """The next read raises."""
        self.entries.append(error)
        self.written.set()

    async def read(self, *args: Any) -> Any:
        self.asked.append(args[-1])
        if not self.entries:
            if b"BLOCK" not in args and "BLOCK" not in args:
                return None
            self.written.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self.written.wait()
            except TimeoutError:
                return None
        else:
            await asyncio.sleep(0)
        entry = self.entries.pop(0)
        if isinstance(entry, Exception):
            raise entry
        self.number += 1
        return [[b"stream", [[b"%d-0" % self.number, entry]]]]

    async def aclose(self) -> None:
        self.closed = True


class FakeBodies:
    """Notes what is dropped."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    async def drop(self, task_id: str, *, answer: bool = True) -> None:
        self.dropped.append(task_id)


def admitted(
    *words: str, count: int = 1, grants: Sequence[Grant] = (), more: bool = False, next_ms: int = 0
) -> Admitted:
    """A reply of admit."""
    return Admitted(next_ms, more, list(words) * count, list(grants))


def entry(**options: Any) -> Entry:
    """A task of our own."""
    return Entry(new_task_id(), PROFILE._replace(**options), b"mbody")


class Rig:
    """A line over fakes."""

    def __init__(self, mode: str = "pull") -> None:
        self.commands = FakeCommands()
        self.reader = FakeReader()
        self.bodies = FakeBodies()
        fakes: Any = self.commands, mode, lambda: self.reader, self.bodies
        self.line = Line(*fakes)

    async def __aenter__(self) -> Rig:
        await self.line.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.line.aclose()
