"""Rate limits: shared by all processes through Redis, or local to this one.

Both are token buckets: `rate` tokens come in a second, at most `burst` collect, a call takes
`cost`. The shared one counts in integers inside Redis, so that it is exact to the microsecond.
"""

from __future__ import annotations

import hashlib
import threading
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction

from .errors import ConfigError
from .keys import check_route, shorten
from .model import Bucket, Verdict
from .queue import Queue

_MOST = 1_000_000_000
_NAMES = 100_000
_EPSILON = 1e-6  # what sums of floats may be off: who waited exactly `retry_after` gets a token


class RateLimiter:
    """A limit shared by everyone who names it: `rate` a second, `burst` at once, per key."""

    def __init__(self, queue: Queue, name: str, *, rate: float, burst: int) -> None:
        self._queue = queue
        self._name = check_route(name)
        if len(name) > 40:
            raise ConfigError(f"limiter name {shorten(name)}: expected at most 40 characters")
        self._burst = _burst(burst)
        self._tokens, self._period_us = _exact(rate, self._burst)

    async def take(self, key: str = "", *, cost: int = 1) -> Verdict:
        """Take `cost` tokens of the bucket of `key`; a negative cost gives back.

        Raises Unavailable where Redis can't be asked: decide there whether to let pass.
        """
        bucket = self.bucket(key)
        return (await self._queue.take([(bucket, _cost(cost))]))[0]

    def bucket(self, key: str = "") -> Bucket:
        """The bucket of a key: keys are hashed, they may hold anything and stay private."""
        name = self._name
        if not isinstance(key, str):
            raise ConfigError(f"limiter key {shorten(key)}: expected a string")
        if key:
            digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:15]
            name += "~" + urlsafe_b64encode(digest).decode()
        return Bucket(name, self._tokens, self._period_us, self._burst)


class LocalRateLimiter:
    """The same in this process alone: a flood does not even reach Redis. Any thread may take.

    Keeps at most 100,000 keys; a key that was idle the longest is forgotten first.
    """

    def __init__(
        self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = _burst(burst)
        _exact(rate, self._burst)
        self._rate = float(rate)
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str = "", *, cost: int = 1) -> Verdict:
        """Take `cost` tokens of the bucket of `key`; a negative cost gives back."""
        cost = _cost(cost)
        with self._lock:
            return self._take(key, cost, self._clock())

    def _take(self, key: str, cost: int, now: float) -> Verdict:
        level, last = self._levels.pop(key, (float(self._burst), now))
        level = min(self._burst, level + max(now - last, 0.0) * self._rate)
        if cost > self._burst:
            verdict = Verdict(False, int(level), None)
        elif cost > level + _EPSILON:
            verdict = Verdict(False, int(level), (cost - level) / self._rate)
        else:
            level = min(self._burst, max(level - cost, 0.0))
            verdict = Verdict(True, int(level + _EPSILON), 0.0)
        self._levels[key] = (level, now)
        if len(self._levels) > _NAMES:
            self._levels.popitem(last=False)
        return verdict


def _exact(rate: float, burst: int) -> tuple[int, int]:
    """`rate` a second as whole tokens in whole microseconds, as near as the script can count:
    tokens up to 10^9, and burst times microseconds below 2^53."""
    try:
        if isinstance(rate, bool | str):
            raise TypeError
        exact = Fraction(rate)
        if not Fraction(0.000001) <= exact <= _MOST:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"rate {shorten(rate)}: expected tokens a second, from 0.000001 to {_MOST}"
        ) from None
    finest = min(1_000_000, int(_MOST / exact), (2**53 - 1) // (burst * 1_000_000))
    near = exact.limit_denominator(finest) if finest >= 1 else Fraction(0)
    if abs(near - exact) > exact / 1_000_000:
        raise ConfigError(
            f"rate {shorten(rate)} and burst {burst}: expected numbers that can be counted "
            "exactly; a smaller burst or a rounder rate can"
        )
    return near.numerator, near.denominator * 1_000_000


def _burst(burst: int) -> int:
    if type(burst) is not int or not 1 <= burst <= _MOST:
        raise ConfigError(f"burst {shorten(burst)}: expected an integer from 1 to {_MOST}")
    return burst


def _cost(cost: int) -> int:
    if type(cost) is not int or not -_MOST <= cost <= _MOST:
        raise ConfigError(f"cost {shorten(cost)}: expected an integer from -{_MOST} to {_MOST}")
    return cost
