"""The token buckets against exact fractions: rates from one a day to 1,000 a microsecond, costs
above the burst, refunds, rates that change live, clocks that step back."""

from __future__ import annotations

from fractions import Fraction
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.buckets import Ask, Buckets, levels, take
from tests.property.driver import START_MS, scripts_with_test_clock
from tests.property.snapshot import text
from tests.servers import Server

from .rig import Rig

DAY_US = 86_400_000_000
START_US = START_MS * 1000
fresh = count()

rates = st.one_of(
    st.sampled_from([(1, DAY_US), (1, 1_000_000), (10, 1_000_000), (3, 1_000_000), (1000, 1)]),
    st.tuples(st.integers(1, 1000), st.integers(1, 1_000_000)),
)
buckets = st.lists(
    st.tuples(rates, st.integers(1, 50)), min_size=1, max_size=3, unique_by=lambda b: b[0]
)
steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 999, 1000, 333_333, 1_000_000, 60_000_000, DAY_US, -1, -5_000_000]),
        st.integers(-3, 60),
        st.integers(1, 3),
    ),
    min_size=5,
    max_size=25,
)


@pytest.fixture(scope="module")
def clocked(_session_server: Server) -> Rig:
    """Plain calls on the clock of the test."""
    client = _session_server.client()
    client.flushall()
    return Rig(client, scripts_with_test_clock())


def set_clock(rig: Rig, now_us: int) -> None:
    """What the scripts take for now."""
    rig.client.set(rig.prefix + "testclock", now_us)


def ask(rig: Rig, asks: list[Ask]) -> tuple[str, int, list[int]]:
    """The script's answer."""
    flat = [p for a in asks for p in (a.name, a.tokens, a.period_us, a.burst, a.cost)]
    _, word, wait, *rest = rig.call("limit", *flat)
    for one in asks:
        rig.client.pexpire(f"{rig.prefix}bucket:{one.name}", 600_000)
    return text(word), int(wait), [int(n) for n in rest]


@pytest.mark.leaves_keys
@settings(max_examples=150)
@given(defined=buckets, calls=steps)
def test_every_answer_is_exact(
    clocked: Rig, defined: list[tuple[tuple[int, int], int]], calls: list[tuple[int, int, int]]
) -> None:
    run, now_us, model = next(fresh), START_US, Buckets()
    for step, cost, width in calls:
        now_us += step
        set_clock(clocked, now_us)
        asks = [
            Ask(f"b{run}.{at}", tokens, period, burst, cost)
            for at, ((tokens, period), burst) in enumerate(defined[:width])
        ]
        wanted = take(model, asks, now_us)
        assert ask(clocked, asks) == wanted, (asks, now_us)


@pytest.mark.leaves_keys
@settings(max_examples=150)
@given(rate=rates, burst=st.integers(1, 50), cost=st.integers(1, 50), ms=st.integers(0, 10**7))
def test_the_time_to_wait_is_neither_too_long_nor_too_short(
    clocked: Rig, rate: tuple[int, int], burst: int, cost: int, ms: int
) -> None:
    """After exactly so many ms the same call goes through, one ms earlier it does not."""
    cost = min(cost, burst)
    one = Ask(f"w{next(fresh)}", *rate, burst, cost)
    now_us = START_US
    set_clock(clocked, now_us)
    while (answer := ask(clocked, [one]))[0] == "OK":
        pass
    wait = answer[1]
    assert wait > 0
    if wait > 1:
        set_clock(clocked, now_us + (wait - 1) * 1000)
        assert ask(clocked, [one])[0] == "WAIT"
    set_clock(clocked, now_us + wait * 1000)
    assert ask(clocked, [one])[0] == "OK"


@pytest.mark.leaves_keys
@settings(max_examples=150)
@given(
    first=rates,
    second=rates,
    burst=st.integers(1, 50),
    spent=st.integers(1, 50),
    gap_us=st.integers(0, 10_000_000),
)
def test_a_rate_that_changes_live_keeps_the_tokens(
    clocked: Rig,
    first: tuple[int, int],
    second: tuple[int, int],
    burst: int,
    spent: int,
    gap_us: int,
) -> None:
    """Never more than was there, and less than the smallest step of the new rate missing."""
    name, model = f"c{next(fresh)}", Buckets()
    old = Ask(name, *first, burst, min(spent, burst))
    new = Ask(name, *second, burst, burst)
    set_clock(clocked, START_US)
    assert ask(clocked, [old]) == take(model, [old], START_US)
    now_us = START_US + gap_us
    set_clock(clocked, now_us)
    [have] = levels(model, [new], now_us)
    word, wait, _ = ask(clocked, [new])
    missing = Fraction(burst) - have
    assert (word == "OK") == (missing == 0), (word, missing)
    exact_us = missing / new.rate
    assert exact_us <= wait * 1000 < exact_us + 2000 + 1 / new.rate, (wait, exact_us)


@pytest.mark.leaves_keys
def test_a_cost_above_the_burst_is_refused_for_good(clocked: Rig) -> None:
    asks = [Ask("n1", 1, 1000, 5, 1), Ask("n2", 1, 1000, 5, 6)]
    set_clock(clocked, START_US)
    assert ask(clocked, asks) == ("NEVER", 0, [5, 5])
    assert not clocked.client.exists(f"{clocked.prefix}bucket:n1")


@pytest.mark.leaves_keys
def test_none_is_taken_where_one_is_empty(clocked: Rig) -> None:
    set_clock(clocked, START_US)
    small, large = Ask("e1", 1, 1_000_000, 1, 1), Ask("e2", 1, 1_000_000, 9, 1)
    assert ask(clocked, [small, large]) == ("OK", 0, [0, 8])
    assert ask(clocked, [small, large]) == ("WAIT", 1000, [0, 8])
    assert ask(clocked, [large]) == ("OK", 0, [7])


@pytest.mark.leaves_keys
def test_a_refund_fills_up_to_the_burst(clocked: Rig) -> None:
    set_clock(clocked, START_US)
    assert ask(clocked, [Ask("r", 1, 1_000_000, 5, 4)]) == ("OK", 0, [1])
    assert ask(clocked, [Ask("r", 1, 1_000_000, 5, -3)]) == ("OK", 0, [4])
    assert ask(clocked, [Ask("r", 1, 1_000_000, 5, -3)]) == ("OK", 0, [5])


@pytest.mark.leaves_keys
def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing(clocked: Rig) -> None:
    one = Ask("k", 1, 1_000_000, 2, 2)
    set_clock(clocked, START_US)
    assert ask(clocked, [one])[0] == "OK"
    set_clock(clocked, START_US - 5_000_000)
    assert ask(clocked, [one]) == ("WAIT", 7000, [0])
    set_clock(clocked, START_US + 1_000_000)
    assert ask(clocked, [one]) == ("WAIT", 1000, [1])


@pytest.mark.leaves_keys
def test_numbers_beyond_2_53_are_refused(clocked: Rig) -> None:
    with pytest.raises(Exception, match="BADARG burst"):
        clocked.call("limit", "x", 1, 10**12, 10**9, 1)
    with pytest.raises(Exception, match="BADARG bucket: expected each name once"):
        clocked.call("limit", "x", 1, 10, 10, 1, "x", 1, 10, 10, 1)


def test_an_emptied_bucket_lives_until_it_is_full(rig: Rig) -> None:
    rig.call("limit", "x", 1, 1_000_000, 5, 5)
    assert 5_000 <= rig.client.pttl(rig.prefix + "bucket:x") <= 6_001
