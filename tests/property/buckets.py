"""Token buckets in exact fractions: what `limit` and the buckets of `admit` must answer."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil


@dataclass(slots=True)
class Bucket:
    """A bucket as it was left by the last call that took from it."""

    level: Fraction
    last_us: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One bucket of one call."""

    name: str
    tokens: int
    period_us: int
    burst: int
    cost: int

    @property
    def rate(self) -> Fraction:
        """Tokens a microsecond."""
        return Fraction(self.tokens, self.period_us)


Buckets = dict[str, Bucket]


def levels(buckets: Buckets, asks: list[Ask], now_us: int) -> list[Fraction]:
    """How full each is now. A clock that stepped back refills nothing."""
    found = []
    for ask in asks:
        bucket = buckets.get(ask.name)
        if bucket is None:
            found.append(Fraction(ask.burst))
            continue
        passed = max(0, now_us - bucket.last_us)
        found.append(min(Fraction(ask.burst), bucket.level + passed * ask.rate))
    return found


def take(buckets: Buckets, asks: list[Ask], now_us: int) -> tuple[str, int, list[int]]:
    """All or none: word, ms to wait, whole tokens that remain in each."""
    have = levels(buckets, asks, now_us)
    rest = [int(level // 1) for level in have]
    if any(ask.cost > ask.burst for ask in asks):
        return "NEVER", 0, rest
    wait = 0
    for ask, level in zip(asks, have, strict=True):
        if ask.cost > level:
            bucket = buckets.get(ask.name)
            behind = max(0, bucket.last_us - now_us) if bucket else 0
            us = ceil((ask.cost - level) / ask.rate) + behind
            wait = max(wait, -(-us // 1000))
    if wait:
        return "WAIT", wait, rest
    for ask, level in zip(asks, have, strict=True):
        bucket = buckets.get(ask.name)
        last = max(now_us, bucket.last_us) if bucket else now_us
        buckets[ask.name] = Bucket(min(Fraction(ask.burst), level - ask.cost), last)
    return "OK", 0, [int(buckets[ask.name].level // 1) for ask in asks]
