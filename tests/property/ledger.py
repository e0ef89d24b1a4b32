"""What the clients of a simulation were told, held against what the queue did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from typing import Any

from pyclient.errors import (
    BadPayload,
    PeakError,
    QueueFull,
    StateLost,
    TaskDead,
    TaskError,
    TaskFailed,
    TaskLost,
    TooLate,
    Unavailable,
)
from pyclient.queue import Queue
from worker_app.context import Context

from .model import MismatchError, expect
from .network import Network

LATEST_S = 0.25
ENDS: tuple[tuple[type[TaskError], str], ...] = (
    (TaskFailed, "failed"),
    (TaskDead, "dead"),
    (TaskLost, "lost"),
)


class Ledger:
    """Every answer is the one that was published under the current fence, of the task that was
    asked for, and in time; a handler runs no oftener than it may."""

    def __init__(self, net: Network, *, attempts: int) -> None:
        self.net = net
        self.attempts = attempts
        self.runs: Counter[str] = Counter()
        self.slots: dict[int, str] = {}
        self.faulty = False
        self.open = 0

    def began(self, context: Context) -> None:
        """A handler starts."""
        self.runs[context.id] += 1
        self.net.note(f"handler {context.id} {context.fence} attempt {context.attempt}")
        count = self.runs[context.id]
        if count > self.attempts:
            self.wrong(f"{context.id} runs for the {count}th time, allowed {self.attempts}")
        if self.runs[context.id] > 1:
            self.net.seen["ran again"] += 1

    def wrong(self, what: str) -> None:
        """A promise was broken: the whole run ends."""
        self.net.fail(MismatchError(what + "\n" + self.net.driver.history()))

    async def asked(
        self, queue: Queue, asker: str, work: Awaitable[Any], nonce: Any, timeout: float
    ) -> None:
        """Wait for an answer and judge it."""
        loop, self.open = self.net.loop, self.open + 1
        began = loop.now
        said: object = "nothing"
        try:
            said = await work
            self._judge(said, nonce)
        except PeakError as error:
            said = error
            if nonce != "same" or not isinstance(error, BadPayload):
                self._judge_error(error, queue)
        except MismatchError as error:
            self.net.fail(error)
        finally:
            self.open -= 1
        took = loop.now - began
        name = type(said).__name__ if isinstance(said, Exception) else "answer"
        self.net.seen[f"heard {name}"] += 1
        self.net.note(f"{asker} heard {said!r} of {nonce} after {took:.3f} s")
        self.in_time(f"{asker} ({said!r})", took, timeout)

    def in_time(self, who: str, took: float, timeout: float) -> None:
        """Nobody waits longer than he wanted to."""
        if took > timeout + LATEST_S:
            self.wrong(f"{who} was answered after {took:.3f} s, its time was {timeout}")

    def _judge(self, said: Any, nonce: Any) -> None:
        got, name, fence = said
        expect(got == nonce, "asked for", nonce, "and answered", said)
        wanted = (fence, "done")
        found = self.net.answers.get(name)
        expect(found == wanted, "answered", said, "but", name, "was published as", found)

    def _judge_error(self, error: PeakError, queue: Queue) -> None:
        if isinstance(error, StateLost):
            mine = {line.caller.id for line in queue._engine._lines.values()}
            if not self.net.orphaned & mine:
                self.wrong(f"nothing was lost, and yet: {error!r}")
        elif isinstance(error, Unavailable | TaskLost) and not self.faulty:
            self.wrong(f"nothing went wrong, and yet: {error!r}")
        elif not isinstance(error, TaskError | QueueFull | TooLate | Unavailable):
            self.wrong(f"not to be expected: {error!r}")
        for kind, word in ENDS:
            if isinstance(error, kind):
                found = self.net.driver.model.ended_ids.get(error.task_id)
                if found not in (word, ""):
                    self.wrong(f"{error.task_id} ended {found!r}, its waiter heard {error!r}")
