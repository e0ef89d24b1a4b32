"""Rate limits: shared ones are exact and atomic, local ones need no Redis."""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyclient import LocalRateLimiter, Queue, RateLimiter
from pyclient.errors import ConfigError, ScriptError, Unavailable
from pyclient.model import Verdict
from tests.servers import Server


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_shared_bucket_counts_for_all(server: Server, queue_name: str) -> None:
    async with (
        Queue.from_url(server.url, name=queue_name) as one,
        Queue.from_url(server.url, name=queue_name) as other,
    ):
        limiters = [RateLimiter(queue, "api", rate=0.001, burst=10) for queue in (one, other)]
        verdicts = await asyncio.gather(*(limiters[n % 2].take("ip") for n in range(30)))
        assert sum(one.allowed for one in verdicts) == 10
        refused = next(one for one in verdicts if not one.allowed)
        assert refused.remaining == 0
        assert refused.retry_after == pytest.approx(1000, abs=2)
        assert (await limiters[0].take("another ip")).allowed
        assert (await limiters[0].take()).remaining == 9
        assert await limiters[0].take("ip", cost=11) == Verdict(False, 0, None)
        assert (await limiters[0].take("ip", cost=-3)).remaining == 3


async def test_a_key_may_hold_anything_and_stays_private(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        limiter = RateLimiter(queue, "api", rate=1, burst=5)
        for key in ("hunter2", "{}:*|\0", "\ud800", "é" * 10_000):
            assert (await limiter.take(key)).remaining == 4
        for stored in server.client().keys("*"):
            assert b"hunter2" not in stored
        with pytest.raises(ConfigError, match="expected a string"):
            await limiter.take(5)  # type: ignore[arg-type]


async def test_several_buckets_are_taken_from_all_or_none(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        wide = RateLimiter(queue, "wide", rate=1, burst=100).bucket()
        narrow = RateLimiter(queue, "narrow", rate=1, burst=2).bucket()
        assert [v.remaining for v in await queue.take([(wide, 10), (narrow, 2)])] == [90, 0]
        assert [v.allowed for v in await queue.take([(wide, 10), (narrow, 2)])] == [False, False]
        assert [v.remaining for v in await queue.take([(wide, 0)])] == [90]
        with pytest.raises(ScriptError, match="BADARG"):
            await queue.take([(wide, 1)] * 5)


async def test_without_redis_it_is_unavailable() -> None:
    queue = Queue.from_url("redis://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await RateLimiter(queue, "api", rate=1, burst=1).take()


@pytest.mark.parametrize(
    ("rate", "burst", "tokens", "period_us"),
    [
        (5, 10, 5, 1_000_000),
        (0.1, 10, 1, 10_000_000),
        (Fraction(1, 3), 10, 1, 3_000_000),
        (Decimal("2.5"), 10, 5, 2_000_000),
        (1_000_000_000, 1, 1_000_000_000, 1_000_000),
        (0.000001, 9, 1, 1_000_000_000_000),
        (7, 1_000_000_000, 7, 1_000_000),
    ],
    ids=repr,
)
def test_a_rate_becomes_whole_tokens_in_whole_microseconds(
    rate: Any, burst: int, tokens: int, period_us: int
) -> None:
    bucket = RateLimiter(Queue.from_url("redis://x"), "api", rate=rate, burst=burst).bucket()
    assert bucket == ("api", tokens, period_us, burst)


@given(st.floats(0.001, 1e9), st.integers(1, 100_000))
def test_any_sensible_rate_is_near_enough_and_one_that_the_script_takes(
    rate: float, burst: int
) -> None:
    try:
        bucket = RateLimiter(Queue.from_url("redis://x"), "api", rate=rate, burst=burst).bucket()
    except ConfigError:
        assert burst > 900  # at less, a millionth of a token a second can be told apart
        return
    assert bucket.tokens / bucket.period_us * 1e6 == pytest.approx(rate, rel=1e-6)
    unit = bucket.period_us // math.gcd(bucket.tokens, bucket.period_us)
    assert bucket.burst * unit < 2**53
    assert 1 <= bucket.tokens <= 1_000_000_000
    assert 1 <= bucket.period_us <= 1_000_000_000_000


async def test_pi_thousand_a_second_is_a_rate(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        limiter = RateLimiter(queue, "api", rate=math.pi * 1000, burst=1000)
        assert (await limiter.take()).remaining == 999


@pytest.mark.parametrize(
    "rate", [0, -1, math.nan, math.inf, "5", None, True, 1e-7, 1e10, 1j, []], ids=repr
)
def test_a_wrong_rate_is_an_error(rate: Any) -> None:
    with pytest.raises(ConfigError, match="rate"):
        LocalRateLimiter(rate, 5)
    with pytest.raises(ConfigError, match="rate"):
        RateLimiter(Queue.from_url("redis://x"), "api", rate=rate, burst=5)


@pytest.mark.parametrize("burst", [0, -1, 1.5, True, "5", None, 10**10], ids=repr)
def test_a_wrong_burst_is_an_error(burst: Any) -> None:
    with pytest.raises(ConfigError, match="burst"):
        LocalRateLimiter(5, burst)


@pytest.mark.parametrize("cost", [1.5, True, "5", None, 10**10], ids=repr)
def test_a_wrong_cost_is_an_error(cost: Any) -> None:
    with pytest.raises(ConfigError, match="cost"):
        LocalRateLimiter(5, 5).take(cost=cost)


@pytest.mark.parametrize("name", ["", "a b", "{x}", None, "x" * 41])
def test_a_wrong_name_is_an_error(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"name|route"):
        RateLimiter(Queue.from_url("redis://x"), name, rate=1, burst=1)


def test_a_rate_too_fine_for_its_burst_is_an_error() -> None:
    with pytest.raises(ConfigError, match="counted exactly"):
        RateLimiter(Queue.from_url("redis://x"), "api", rate=0.1, burst=1_000_000_000)
    with pytest.raises(ConfigError, match="counted exactly"):
        LocalRateLimiter(0.000001, 1_000_000)


def test_a_local_bucket_fills_with_time() -> None:
    clock = Clock()
    limiter = LocalRateLimiter(10, 5, clock=clock)
    assert [limiter.take().allowed for _ in range(6)] == [True] * 5 + [False]
    verdict = limiter.take(cost=2)
    assert verdict == Verdict(False, 0, 0.2)
    assert verdict.retry_after is not None
    clock.now += verdict.retry_after
    assert limiter.take(cost=2) == Verdict(True, 0, 0.0)
    clock.now += 100
    assert limiter.take().remaining == 4
    assert limiter.take(cost=6) == Verdict(False, 4, None)
    assert limiter.take(cost=-10).remaining == 5
    clock.now -= 50  # a clock that goes back gives nothing and takes nothing
    assert limiter.take().remaining == 4


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1)), max_size=40), st.floats(0.1, 100))
def test_who_waits_as_long_as_told_gets_what_was_asked_for(
    steps: list[tuple[int, float]], rate: float
) -> None:
    clock = Clock()
    limiter = LocalRateLimiter(rate, 5, clock=clock)
    for cost, pause in steps:
        clock.now += pause
        verdict = limiter.take(cost=cost)
        if not verdict.allowed:
            assert verdict.retry_after is not None
            clock.now += verdict.retry_after
            assert limiter.take(cost=cost).allowed


def test_a_local_bucket_gives_no_more_to_many_threads() -> None:
    limiter = LocalRateLimiter(0.001, 500)
    go = threading.Barrier(8)

    def take(_: int) -> int:
        go.wait()
        return sum(limiter.take("k").allowed for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 500


def test_the_key_that_was_idle_the_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyclient.limiter._NAMES", 3)
    limiter = LocalRateLimiter(0.001, 1)
    for key in ("a", "b", "c", "a", "d"):
        limiter.take(key)
    assert not limiter.take("a").allowed
    assert limiter.take("b").allowed
