"""How safely a server keeps what it acknowledges: what a queue may demand, and how it is asked.

    memory          nothing of it survives the server
    aof             a log on disk: a restart loses at most what `appendfsync` allows
    replicated[:N]  every replica in touch, and at least N (1), has it before anyone is told

What each promises, and what was measured, is in docs/explanation/durability.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import ConfigError

EXPECTED = "memory, aof, replicated or replicated:N (N replicas, 1 to 9)"
_MODE = re.compile(r"(memory|aof|replicated)(?::([1-9]))?")

_IN_URL = re.compile(r"[?&]durability=([^&]*)")


@dataclass(frozen=True, slots=True)
class Durability:
    """What is demanded; `replicas` is what WAIT waits for, 0 in the other modes."""

    mode: str = ""
    replicas: int = 0

    @classmethod
    def parse(cls, text: str) -> Durability:
        """From `EXPECTED`; empty demands nothing. Raises ValueError."""
        if text == "":
            return cls()
        match = _MODE.fullmatch(text)
        if match is None or (match[2] and match[1] != "replicated"):
            raise ValueError(EXPECTED)
        return cls(match[1], int(match[2] or 1) if match[1] == "replicated" else 0)

    def __str__(self) -> str:
        return f"{self.mode}:{self.replicas}" if self.replicas > 1 else self.mode


def demanding(url: str, durability: str | None) -> str:
    """The address with a demand, where there is one. Raises ConfigError."""
    if not durability:
        return url
    try:
        Durability.parse(durability)
    except ValueError as error:
        raise ConfigError(f"durability is {durability[:40]!r}, expected {error}") from None
    said = _IN_URL.search(url)
    if said is None:
        return f"{url}{'&' if '?' in url else '?'}durability={durability}"
    if said[1] != durability:
        raise ConfigError(
            f"durability is {durability}, and the address says {said[1][:40]}: keep one of them"
        )
    return url
