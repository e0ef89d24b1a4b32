"""The slots of one process, shared by the claim loops of several shards.

Each shard may ask for its share of what is free; of what can't be shared the first in turn gets
all, and the turn goes on with each claim. So one slot walks over all shards that have work, and
a shard alone with work gets everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .desk import Desk

_STALE_S = 0.1
_SILENT_S = 1.0
"""A call that takes longer keeps no slots: its shard may be away."""


class Turn:
    """What one claim loop may ask for; without others all that its desk has free."""

    def __init__(self, desk: Desk, turns: Turns | None = None) -> None:
        self._desk = desk
        self._turns = turns
        self.asked = 0
        self.asked_at = 0.0
        self._unheard_since = 0.0
        self.wants: Callable[[], bool] = bool
        self.poke: Callable[[], None] = lambda: None
        if turns is not None:
            turns.members.append(self)

    @property
    def running(self) -> int:
        """Slots in use by this shard."""
        return len(self._desk.running)

    @property
    def held(self) -> int:
        """Slots in use, or asked for just now."""
        asked = self.asked if time.monotonic() - self.asked_at < _SILENT_S else 0
        return self.running + asked

    @property
    def free(self) -> int:
        """How many tasks may be asked for now."""
        return self._desk.free if self._turns is None else self._turns.share(self)

    @property
    def stale(self) -> bool:
        """Whether this shard was not asked for a while: others may have had all slots since."""
        return self._turns is not None and time.monotonic() - self.asked_at > _STALE_S

    @property
    def silent(self) -> bool:
        """Whether its calls go unanswered: a slot that is kept for it is kept from the others."""
        since = self._unheard_since
        return since > 0 and time.monotonic() - since > _SILENT_S

    def calls(self) -> None:
        """A call of its loop begins."""
        self._unheard_since = self._unheard_since or time.monotonic()

    def heard(self) -> None:
        """It was answered, or calls no more."""
        self._unheard_since = 0.0

    def fits(self, count: int) -> int:
        """How many of so many that came can be started: others may have come before them."""
        return min(count, max(0, self._desk.free) if self._turns is None else self._turns.left())

    def ask(self, count: int) -> None:
        """So many are being asked for."""
        if self._turns is not None and count:
            self.asked, self.asked_at = count, time.monotonic()
            self._turns.go_on(self)

    def competes(self) -> bool:
        """Whether it would ask for a slot that is left."""
        return not self.asked and not self.silent and self.wants()

    def answered(self) -> None:
        """The call has ended."""
        if self.asked:
            self.asked = 0
            self.changed()

    def changed(self) -> None:
        """Slots came free, or this loop has something to say."""
        self.poke()
        if self._turns is not None:
            self._turns.poke(self)


class Turns:
    """The turns of all shards of one process."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = 0
        self.members: list[Turn] = []

    def share(self, turn: Turn) -> int:
        """What this one may ask for."""
        left = self._total - sum(one.held for one in self.members)
        if left <= 0:
            return 0
        order = self.members[self._next :] + self.members[: self._next]
        wanting = [one for one in order if one is turn or one.competes()]
        each, rest = divmod(left, len(wanting))
        return each + (wanting.index(turn) < rest)

    def left(self) -> int:
        """Slots that nobody has."""
        return max(0, self._total - sum(one.running for one in self.members))

    def go_on(self, turn: Turn) -> None:
        """The next in turn is the one behind."""
        self._next = (self.members.index(turn) + 1) % len(self.members)

    def poke(self, turn: Turn) -> None:
        """Wake the other loops that have a use for a slot."""
        for one in self.members:
            if one is not turn and one.wants():
                one.poke()
