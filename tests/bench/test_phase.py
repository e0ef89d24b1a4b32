"""How one phase of round trips is counted, in each way that a system is driven."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bench.harness import trips
from bench.harness.contract import PAYLOAD_BYTES, Base, Tick, payload


class Echo(Base):
    """A system of which each tenth answer is wrong, and each eleventh call fails."""

    def __init__(self) -> None:
        self.calls = 0

    def answer(self, sent: str) -> str:
        self.calls += 1
        if self.calls % 11 == 0:
            raise OSError("gone")
        return "another" if self.calls % 10 == 0 else sent

    def submit(self, payload: str) -> str:
        return payload

    def result(self, handle: str) -> str:
        return self.answer(handle)

    def call(self, payload: str) -> str:
        return self.answer(payload)


class Later(Echo):
    async def call(self, payload: str) -> str:  # type: ignore[override]
        return self.answer(payload)


class Hanging(Base):
    def __init__(self) -> None:
        pass

    async def call(self, payload: str) -> str:
        await asyncio.Event().wait()
        return payload


def test_payloads_have_the_size_and_are_apart() -> None:
    assert {len(payload(number)) for number in (1, 999_999)} == {PAYLOAD_BYTES}
    assert payload(1) != payload(2)


def test_threads_and_windows_count_what_came_back_right() -> None:
    for way in (trips.threads, trips.window):
        found = way(Echo(), 4, 110, 5.0)
        assert (found["done"], found["errors"], found["hung"]) == (90, 20, 0)
        assert found["p50"] <= found["p90"] <= found["p99"] <= found["max"]


def test_coroutines_count_what_came_back_right() -> None:
    found = asyncio.run(trips.coroutines(Later(), 4, 110, 5.0))
    assert (found["done"], found["errors"]) == (90, 20)
    assert found["first_error"]


def test_calls_that_hang_are_counted_and_left() -> None:
    before, trips.OVERTIME_S = trips.OVERTIME_S, 0.05
    try:
        found = asyncio.run(trips.coroutines(Hanging(), 3, 3, 0.01))
    finally:
        trips.OVERTIME_S = before
    assert (found["done"], found["hung"], found["p50"]) == (0, 3, None)


def test_the_tick_counts_and_remembers_first_and_last(tmp_path: Path) -> None:
    tick = Tick.create(tmp_path / "tick")
    began = time.monotonic()
    for _ in range(3):
        tick.add()
    count, first, last = Tick(tmp_path / "tick").read()
    assert count == 3
    assert began <= first <= last <= time.monotonic()
