"""A histogram of times with the same relative precision from microseconds to minutes.

Buckets are linear within each power of two and double from one to the next, after HdrHistogram
(Gil Tene): a value is known to one part in a thousand, however far the tail reaches.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

_HALF = 1024  # buckets in each power of two, so that none is wider than 1/1024 of what it holds
_STEPS = 5  # lines of the distribution each time the rest is halved


class Histogram:
    """Counts of whole microseconds."""

    def __init__(self, values_s: Iterable[float] = ()) -> None:
        self._counts: Counter[int] = Counter()
        self.total = 0
        self.longest_us = 0
        for value in values_s:
            self.add(value)

    def add(self, value_s: float) -> None:
        """Count one time, given in seconds."""
        micros = max(0, round(value_s * 1e6))
        self._counts[_bucket(micros)] += 1
        self.total += 1
        self.longest_us = max(self.longest_us, micros)

    def at(self, percent: float) -> int | None:
        """The highest value of the bucket in which that percentile lies, in µs; None of nothing."""
        if not self.total:
            return None
        rank = max(1, math.ceil(self.total * percent / 100))
        for bucket, seen in self._cumulated():
            if seen >= rank:
                return min(_highest(bucket), self.longest_us)
        return self.longest_us

    def counts(self) -> list[tuple[int, int]]:
        """(highest µs of the bucket, count), rising: all that is known."""
        return [(_highest(bucket), self._counts[bucket]) for bucket in sorted(self._counts)]

    def distribution(self) -> str:
        """The text that plotters of HdrHistogram read: milliseconds by percentile, finer and
        finer towards the end."""
        lines = [
            f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}",
            "",
        ]
        share, rest = 0.0, 1.0
        while self.total and rest * self.total >= 0.5:
            value = self.at(share * 100) or 0
            lines.append(self._line(value, share))
            share += rest / 2 / _STEPS
            if share >= 1 - rest / 2:
                rest /= 2
        if self.total:
            lines.append(f"{self.longest_us / 1000:12.3f} {1:14.12f} {self.total:10d} {'inf':>14}")
        return "\n".join(lines) + "\n"

    def _line(self, value_us: int, share: float) -> str:
        seen = max(
            (n for bucket, n in self._cumulated() if _highest(bucket) <= value_us), default=0
        )
        return f"{value_us / 1000:12.3f} {share:14.12f} {seen:10d} {1 / (1 - share):14.2f}"

    def _cumulated(self) -> Iterable[tuple[int, int]]:
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            yield bucket, seen


def _bucket(micros: int) -> int:
    """Numbers below 2048 have a bucket each; above, the top eleven bits and how many follow."""
    shift = max(0, micros.bit_length() - 11)
    return shift * _HALF + (micros >> shift)


def _highest(bucket: int) -> int:
    """The largest number that falls into a bucket."""
    if bucket < 2 * _HALF:
        return bucket
    shift, top = bucket // _HALF - 1, bucket % _HALF + _HALF
    return ((top + 1) << shift) - 1
