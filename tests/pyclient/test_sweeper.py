"""Who hears `next_ms` sees to the next sweep, once and in time."""

from __future__ import annotations

import asyncio
import logging

import pytest

from pyclient.errors import Unavailable
from pyclient.sweeper import Sweeper
from tests.pyclient.client_rig import until


class Sweeps:
    """Answers in turn; notes when it was called."""

    def __init__(self, *ends: object) -> None:
        self.ends = list(ends)
        self.at: list[float] = []

    async def __call__(self) -> tuple[int, bool]:
        self.at.append(asyncio.get_running_loop().time())
        end = self.ends.pop(0) if self.ends else (0, False)
        await asyncio.sleep(0)
        if isinstance(end, Exception):
            raise end
        assert isinstance(end, tuple)
        return end


async def test_it_sweeps_when_one_is_due_and_then_when_that_says() -> None:
    sweeps = Sweeps((40, False), (0, False))
    sweeper = Sweeper(sweeps)
    began = asyncio.get_running_loop().time()
    sweeper.note(40)
    await until(lambda: len(sweeps.at) == 2)
    assert sweeps.at[0] - began >= 0.04
    assert sweeps.at[1] - sweeps.at[0] >= 0.04
    await asyncio.sleep(0.1)
    assert len(sweeps.at) == 2
    await sweeper.aclose()


async def test_the_soonest_note_counts() -> None:
    sweeps = Sweeps()
    sweeper = Sweeper(sweeps)
    sweeper.note(10_000)
    sweeper.note(20)
    sweeper.note(5_000)
    sweeper.note(0)
    await until(lambda: sweeps.at, timeout=1)
    await sweeper.aclose()


async def test_more_is_swept_at_once() -> None:
    sweeps = Sweeps((500, True), (500, True), (0, False))
    sweeper = Sweeper(sweeps)
    sweeper.note(1)
    await until(lambda: len(sweeps.at) == 3, timeout=0.4)
    await sweeper.aclose()


async def test_a_shut_gate_is_tried_again_when_more_was_to_do() -> None:
    sweeps = Sweeps((3750, False), (3750, False))
    sweeper = Sweeper(sweeps)
    sweeper.soon()
    await until(lambda: len(sweeps.at) == 2, timeout=1)
    assert sweeps.at[1] - sweeps.at[0] >= 0.25
    await sweeper.aclose()


async def test_more_to_do_heard_while_sweeping_is_not_forgotten() -> None:
    sweeper: Sweeper

    async def sweep() -> tuple[int, bool]:
        calls.append(1)
        if len(calls) == 1:
            sweeper.soon()
            await asyncio.sleep(0.01)
        return 0, False

    calls: list[int] = []
    sweeper = Sweeper(sweep)
    sweeper.note(1)
    await until(lambda: len(calls) == 2, timeout=0.5)
    await sweeper.aclose()


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a bug")], ids=repr)
async def test_an_error_is_logged_and_sweeping_goes_on(
    error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyclient.sweeper._RETRY_MS", 10)
    sweeps = Sweeps(error, error, (0, False))
    sweeper = Sweeper(sweeps)
    with caplog.at_level(logging.WARNING):
        sweeper.note(1)
        await until(lambda: len(sweeps.at) == 3)
    await sweeper.aclose()
    assert "can't sweep" in caplog.text
    once = isinstance(error, Unavailable)
    assert len(caplog.records) == (1 if once else 2)


async def test_a_closed_one_sweeps_no_more() -> None:
    sweeps = Sweeps()
    sweeper = Sweeper(sweeps)
    sweeper.note(20)
    await sweeper.aclose()
    sweeper.note(1)
    sweeper.soon()
    await asyncio.sleep(0.05)
    assert sweeps.at == []


async def test_closing_ends_a_sweep_in_flight() -> None:
    begun = asyncio.Event()

    async def hang() -> tuple[int, bool]:
        begun.set()
        await asyncio.sleep(60)
        return 0, False

    sweeper = Sweeper(hang)
    sweeper.note(1)
    await begun.wait()
    await asyncio.wait_for(sweeper.aclose(), 1)
