"""Takes tasks out of the line: unnumbered calls, so that they wait for nothing.

A second copy of such a call does no harm. But it can't tell what the first one did, so after a
lost reply the inbox resyncs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from .commands import Commands
from .entry import closed
from .errors import PeakError, Unavailable
from .inbox import Inbox
from .model import Grant, Told

log = logging.getLogger("pyclient.cancels")

BATCH = 64
PATIENCE_S = 5.0
_PAUSE_S = 0.05

Word = asyncio.Future[str]


class Cancels:
    """What is to be cancelled, by reason. `heard` is told of each reply and its grants, and not
    before which time (loop's clock) these were given."""

    def __init__(
        self,
        commands: Commands,
        caller: str,
        inbox: Inbox,
        heard: Callable[[Told, Sequence[Grant], float], None],
    ) -> None:
        self._commands = commands
        self._caller = caller
        self._inbox = inbox
        self._heard = heard
        self._waiting: dict[str, list[tuple[str, Word]]] = {}
        self._wake = asyncio.Event()
        self.pending: set[Word] = set()

    def add(self, task_id: str, reason: str) -> Word:
        """The future ends with the script's word, or an error."""
        word: Word = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(reason, []).append((task_id, word))
        self.pending.add(word)
        word.add_done_callback(self.pending.discard)
        self._wake.set()
        return word

    async def run(self) -> None:
        """Send what gathered while the last call was in flight; for good."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                reason, waiting = self._waiting.popitem()
                for start in range(0, len(waiting), BATCH):
                    await self._cancel(reason, waiting[start : start + BATCH])

    def end(self, others: Iterable[Word]) -> None:
        """Fail what was not answered, here and of `others`."""
        self._waiting.clear()
        for word in [*self.pending, *others]:
            refuse(word, closed())

    async def _cancel(self, reason: str, some: list[tuple[str, Word]]) -> None:
        error: Exception = closed()
        try:
            await self._send(reason, some)
        except PeakError as caught:
            log.debug("cancel: %s", caught)
            self._inbox.lost()
            error = caught
        except Exception as caught:
            log.exception("cancel failed by a mistake of this program")
            error = caught
        finally:
            for _, word in some:
                refuse(word, error)

    async def _send(self, reason: str, some: list[tuple[str, Word]]) -> None:
        loop = asyncio.get_running_loop()
        sent, tries = loop.time(), 0
        ids = [task_id for task_id, _ in some]
        while True:
            tries += 1
            try:
                told, grants = await self._commands.cancel(self._caller, 0, reason, ids)
                break
            except Unavailable as error:
                if error.unknown:
                    self._inbox.lost()
                if loop.time() - sent >= PATIENCE_S and tries > 1:
                    raise
            await asyncio.sleep(_PAUSE_S)
        self._heard(told, grants, sent)
        for (task_id, word), said in zip(some, told.words, strict=True):
            if said == "CANCELLED":  # the script does not post to the one that asked
                self._inbox.take(task_id, reason.encode() + b"\n")
            answer(word, said)


def answer(word: Word, said: str) -> None:
    """End a future, unless whoever asked has left."""
    if not word.done():
        word.set_result(said)


def refuse(word: Word, error: Exception) -> None:
    """End a future with an error, unless it has ended."""
    if not word.done():
        word.set_exception(error)
        word.exception()  # whoever asked may have left


async def ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """Return when all have ended, however they did."""
    await asyncio.gather(*tasks, return_exceptions=True)
