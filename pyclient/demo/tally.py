"""What became of each request of a peak, and the figures that are made of it.

Every request ends as exactly one of: ok (2xx before the client gives up), refused (503 or 429 with
Retry-After), failed (any other answer), lost (no answer at all). Times count from the moment at
which the request was to be sent, so a client that is held up does not flatter the server.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from .wire import Answer

CLASSES = ("high", "low")
GIVE_UP_S = 10.0


class Arrival(NamedTuple):
    """When, in seconds from the start of the peak, and of which class."""

    at: float
    kind: str


def arrivals(rate: float, seconds: float, high_share: float, seed: int = 7) -> list[Arrival]:
    """A Poisson stream with a fixed number in it: the same for the same arguments."""
    source = random.Random(seed)
    count = round(rate * seconds)
    high = round(count * high_share)
    kinds = ["high"] * high + ["low"] * (count - high)
    source.shuffle(kinds)
    times = sorted(source.random() * seconds for _ in range(count))
    return [Arrival(at, kind) for at, kind in zip(times, kinds, strict=True)]


class Tally:
    """Counts while the peak runs."""

    def __init__(self) -> None:
        self.offered = dict.fromkeys(CLASSES, 0)
        self.late_s: list[float] = []
        self.ok_s: dict[str, list[float]] = {kind: [] for kind in CLASSES}
        self.refused_s: list[float] = []
        self.refused_high = 0
        self.bare_refusals = 0
        self.statuses: dict[int, int] = {}
        self.failed = 0
        self.lost = 0
        self.last_ok_s = 0.0

    def sent(self, kind: str, late_s: float) -> None:
        """One request goes out, so much later than it was due: the client's own lag."""
        self.offered[kind] += 1
        self.late_s.append(late_s)

    def heard(self, kind: str, answer: Answer | None, took_s: float, now_s: float) -> None:
        """One request has its answer (None: it has none and never will)."""
        if answer is None:
            self.lost += 1
            return
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if 200 <= answer.status < 300 and took_s <= GIVE_UP_S:
            self.ok_s[kind].append(took_s)
            self.last_ok_s = max(self.last_ok_s, now_s)
        elif answer.status in (429, 503) and answer.retry_after is not None:
            self.refused_s.append(took_s)
            self.refused_high += kind == "high"
        else:
            self.bare_refusals += answer.status in (429, 503)
            self.failed += 1

    def progress(self) -> dict[str, int]:
        """The counts for the live view."""
        return {
            "offered": sum(self.offered.values()),
            "ok": sum(map(len, self.ok_s.values())),
            "ok_high": len(self.ok_s["high"]),
            "refused": len(self.refused_s),
            "failed": self.failed,
            "lost": self.lost,
        }

    def figures(self) -> dict[str, Any]:
        """The figures of the report; percentiles are over what was ok, in milliseconds."""
        return {
            "offered": self.offered,
            "ok": {kind: len(took) for kind, took in self.ok_s.items()},
            "p50_ms": {kind: percentile_ms(took, 50) for kind, took in self.ok_s.items()},
            "p99_ms": {kind: percentile_ms(took, 99) for kind, took in self.ok_s.items()},
            "refused": len(self.refused_s),
            "refused_high": self.refused_high,
            "refused_p99_ms": percentile_ms(self.refused_s, 99),
            "refused_without_retry_after": self.bare_refusals,
            "failed": self.failed,
            "lost": self.lost,
            "statuses": dict(sorted(self.statuses.items())),
            "client_late_p99_ms": percentile_ms(self.late_s, 99),
            "busy_s": round(self.last_ok_s, 3),
        }


def percentile_ms(values_s: list[float], percent: float) -> float | None:
    """Nearest rank; None of nothing."""
    if not values_s:
        return None
    ordered = sorted(values_s)
    rank = max(0, -(-len(ordered) * percent // 100) - 1)
    return round(ordered[int(rank)] * 1000, 1)
