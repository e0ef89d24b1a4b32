"""All keys of one queue, as they were read: what the invariants look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Pairs = list[tuple[str, bytes]]


def text(value: bytes | str) -> str:
    """Bytes of Redis as text, losslessly."""
    return value if isinstance(value, str) else value.decode("latin-1")


@dataclass(slots=True)
class Snapshot:
    """Key suffix (what follows the prefix) to value, by type of key.

    `slack` is how many tasks may have come or gone while it was read: 0 where it shows one
    instant. `pieces` names keys that were read in pieces, `heads` has the oldest tick of the
    lanes among them, `left_out` names keys that were too long to be read.
    """

    prefix: str
    strings: dict[str, bytes] = field(default_factory=dict)
    hashes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    zsets: dict[str, dict[str, float]] = field(default_factory=dict)
    lists: dict[str, list[bytes]] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    streams: dict[str, list[tuple[str, Pairs]]] = field(default_factory=dict)
    ttl: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    slack: int = 0
    pieces: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def content(self) -> dict[str, object]:
        """Everything but the remaining lives, for equality."""
        return {
            **self.strings,
            **self.hashes,
            **self.zsets,
            **self.lists,
            **self.sets,
            **self.streams,
        }

    def names(self) -> Iterable[str]:
        """All suffixes."""
        return self.ttl.keys()

    def starting(self, start: str) -> list[str]:
        """The rest of each suffix that begins with `start`."""
        return [key[len(start) :] for key in self.ttl if key.startswith(start)]

    def hash(self, name: str) -> dict[str, bytes]:
        """A hash, empty where it is missing."""
        return self.hashes.get(name, {})

    def zset(self, name: str) -> dict[str, float]:
        """A sorted set in its order, empty where it is missing."""
        return self.zsets.get(name, {})

    def integer(self, name: str, field_name: str, default: int = 0) -> int:
        """An integer field of a hash."""
        value = self.hash(name).get(field_name)
        return default if value in (None, b"") else int(value)

    def head(self, lane: str) -> int | None:
        """The oldest tick of a lane."""
        if lane in self.heads:
            return self.heads[lane]
        ticks = self.zset(f"wait:{lane}").values()
        return int(min(ticks)) if ticks else None

    def waiting(self) -> dict[str, list[tuple[str, int]]]:
        """Task id to (lane, tick), for each lane that holds it (it should be one)."""
        found: dict[str, list[tuple[str, int]]] = {}
        for lane in self.starting("wait:"):
            for name, tick in self.zset(f"wait:{lane}").items():
                found.setdefault(name, []).append((lane, int(tick)))
        return found
