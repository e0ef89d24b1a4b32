"""The open-loop client: what it sends, when, and how it judges the answers."""

from __future__ import annotations

import asyncio

import pytest

from pyclient.demo import client as module
from pyclient.demo.client import Peak
from pyclient.demo.tally import Arrival, Tally, arrivals, percentile_ms
from pyclient.demo.wire import Answer
from tests.demo.answers import reply, server


async def play(url: str, count: int, *, every: float = 0.01, connections: int = 100) -> Tally:
    plan = [Arrival(i * every, "high" if i % 2 else "low") for i in range(count)]
    peak = Peak(url, plan, connections)
    async with asyncio.timeout(15):
        await peak.play()
    return peak.tally


def test_arrivals_are_the_same_each_time_and_as_many_as_asked() -> None:
    plan = arrivals(1000, 3, 0.05)
    assert plan == arrivals(1000, 3, 0.05)
    assert len(plan) == 3000
    assert sum(kind == "high" for _, kind in plan) == 150
    assert plan == sorted(plan, key=lambda one: one.at)
    assert 0 <= plan[0].at < plan[-1].at < 3


async def test_each_answer_has_its_place() -> None:
    answers = {
        1: reply(200, body=b"hello"),
        2: reply(204),
        3: reply(503, b"Retry-After: 3"),
        4: reply(429, b"retry-after: 1"),
        5: reply(503),
        6: reply(500),
        7: b"",
        8: b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        9: reply(302, b"connection: close"),
        10: reply(200),
    }

    async def answer(number: int, head: bytes) -> bytes:
        return answers[number]

    async with server(answer) as url:
        tally = await play(url, 10, every=0.05)
    figures = tally.figures()
    assert figures["offered"] == {"high": 5, "low": 5}
    assert sum(figures["ok"].values()) == 4
    assert (figures["refused"], figures["failed"], figures["lost"]) == (2, 3, 1)
    assert figures["refused_without_retry_after"] == 1
    assert figures["statuses"] == {200: 3, 204: 1, 302: 1, 429: 1, 500: 1, 503: 2}


async def test_arrivals_do_not_wait_for_answers() -> None:
    arrived: list[float] = []

    async def answer(number: int, head: bytes) -> bytes:
        arrived.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.5)
        return reply(200)

    async with server(answer) as url:
        tally = await play(url, 20, every=0.01)
    assert max(arrived) - min(arrived) < 0.45, "all were there before the first answer"
    assert tally.progress()["ok"] == 20


async def test_time_counts_from_the_moment_at_which_it_was_due() -> None:
    async def answer(number: int, head: bytes) -> bytes:
        await asyncio.sleep(0.2)
        return reply(200)

    async with server(answer) as url:
        tally = await play(url, 4, every=0.0, connections=1)
    took = sorted(t for kind in tally.ok_s.values() for t in kind)
    assert [round(t, 1) for t in took] == [0.2, 0.4, 0.6, 0.8]


async def test_connections_are_used_again_and_never_more_than_allowed() -> None:
    async def answer(number: int, head: bytes) -> bytes:
        await asyncio.sleep(0.02)
        return reply(200)

    async with server(answer) as url:
        peak = Peak(url, [Arrival(0.002 * i, "low") for i in range(60)], 3)
        async with asyncio.timeout(15):
            await peak.play()
    assert peak.tally.progress()["ok"] == 60
    assert peak.connections_made == 3


async def test_it_gives_up_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP_S", 0.3)

    async def answer(number: int, head: bytes) -> bytes:
        if number == 1:
            await asyncio.sleep(1)
        return reply(200)

    async with server(answer) as url:
        tally = await play(url, 3, every=0.05)
        await asyncio.sleep(1)  # the server's handler wakes up and finds nobody
    assert tally.progress()["lost"] == 1
    assert tally.progress()["ok"] == 2


async def test_nobody_there_is_lost() -> None:
    tally = await play("http://127.0.0.1:1", 3)
    assert tally.progress()["lost"] == 3


def test_a_late_answer_has_failed() -> None:
    tally = Tally()
    tally.heard("high", Answer(200, None), 10.01, 10.01)
    assert (tally.failed, tally.figures()["ok"]["high"]) == (1, 0)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([0.5], 99, 500.0),
        ([0.1, 0.2], 50, 100.0),
        ([i / 1000 for i in range(1, 101)], 99, 99.0),
    ],
)
def test_percentiles_are_nearest_rank(
    values: list[float], percent: float, expected: float | None
) -> None:
    assert percentile_ms(values, percent) == expected
