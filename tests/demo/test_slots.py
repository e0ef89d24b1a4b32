"""The toy backend: what it costs to ask it for more than it can take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pyclient.demo.family import Child, Family
from pyclient.demo.http import get_json, request
from pyclient.demo.slots import Slots
from pyclient.demo.stage import start_backend


async def times(slots: Slots, count: int, work_s: float) -> list[float]:
    """When each of `count` pieces that begin together is done."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    done: list[asyncio.Future[float]] = [loop.create_future() for _ in range(count)]
    for future in done:
        slots.begin(work_s, lambda f=future: f.set_result(loop.time() - began))  # type: ignore[misc]
    return await asyncio.gather(*done)


@pytest.mark.parametrize(("count", "factor"), [(1, 1), (4, 1), (8, 2), (20, 5)])
async def test_work_beyond_the_slots_slows_all(count: int, factor: int) -> None:
    slots = Slots(4)
    took = await times(slots, count, 0.05)
    assert 0.05 * factor - 0.01 <= min(took) <= max(took) < 0.05 * factor + 0.15
    assert (slots.max_in_flight, slots.in_flight, slots.done) == (count, 0, count)


async def test_reset_forgets_what_is_in_flight() -> None:
    slots = Slots(1)
    slots.begin(60, lambda: pytest.fail("it was forgotten"))
    slots.reset()
    assert (slots.in_flight, slots.max_in_flight) == (0, 0)
    assert min(await times(slots, 1, 0.02)) < 1


@asynccontextmanager
async def backend(*, slots: int, work_s: float) -> AsyncIterator[tuple[Child, str]]:
    async with Family() as family:
        yield await start_backend(family, slots=slots, work_s=work_s)


async def test_a_client_that_gives_up_stops_no_work() -> None:
    async with backend(slots=2, work_s=0.4) as (_, url):
        gone = asyncio.create_task(request(f"{url}/a"))
        await _in_flight(url, 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert (await get_json(f"{url}/-/state"))["in_flight"] == 1
        await _in_flight(url, 0)
        assert (await get_json(f"{url}/-/state"))["done"] == 1


async def test_it_counts_its_own_maximum_and_forgets_it_when_told() -> None:
    async with backend(slots=2, work_s=0.05) as (_, url):
        answers = await asyncio.gather(*(request(f"{url}/x/{i}") for i in range(5)))
        assert [status for status, _ in answers] == [200] * 5
        assert json.loads(answers[3][1])["path"] == "/x/3"
        assert (await get_json(f"{url}/-/state"))["max_in_flight"] == 5
        assert (await get_json(f"{url}/-/reset", "POST"))["max_in_flight"] == 0
        assert (await request(f"{url}/-/nope"))[0] == 404


async def test_what_is_no_http_is_refused() -> None:
    async with backend(slots=2, work_s=0.05) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"EHLO there\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def _in_flight(url: str, count: int) -> None:
    for _ in range(250):
        if (await get_json(f"{url}/-/state"))["in_flight"] == count:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not {count} in flight within five seconds")
