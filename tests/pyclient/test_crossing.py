"""A coroutine between two threads: begun once or never, ended once."""

from __future__ import annotations

import asyncio

import pytest

from pyclient.crossing import Crossing
from pyclient.errors import Unavailable


async def five() -> int:
    await asyncio.sleep(0)
    return 5


async def fail() -> int:
    raise ValueError("mine")


async def test_results_and_errors_come_across() -> None:
    fine, broken = Crossing(five()), Crossing(fail())
    fine.start()
    broken.start()
    assert await asyncio.to_thread(fine.wait) == 5
    with pytest.raises(ValueError, match="mine"):
        await asyncio.to_thread(broken.wait)


async def test_cancelled_before_it_began_it_never_does() -> None:
    ran: list[int] = []

    async def note() -> None:
        ran.append(1)

    crossing = Crossing(note())
    crossing.cancel()
    crossing.start()
    await asyncio.sleep(0.01)
    assert ran == []


async def test_cancelled_while_it_runs_it_ends() -> None:
    crossing = Crossing(asyncio.sleep(60))
    crossing.start()
    await asyncio.sleep(0)
    crossing.cancel()
    with pytest.raises(Unavailable, match="was closed"):
        await asyncio.to_thread(crossing.wait)
