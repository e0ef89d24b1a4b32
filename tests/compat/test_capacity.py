"""Room and time-outs: A05 to A08, A17, A19, A32, A33, A46."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server

from .rig import Refusal, site, took, until
from .seed import DistributedTaskApplyManager


async def test_a05_a06_beyond_the_limit_it_is_refused_at_once_and_the_room_comes_back_exactly(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 3}, threads=3)
        await at.ready("/sleepy")
        await at.call("/sleepy")
        running = [asyncio.create_task(at.call("/sleepy", {"seconds": 0.5})) for _ in range(3)]
        await until(lambda: at.raw.zcard(at.key("leases")) == 3)
        seconds = []
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(Refusal):
                await at.call("/sleepy")
            seconds.append(time.monotonic() - begun)
        assert min(seconds) < 0.05
        assert await asyncio.gather(*running) == [(True, "slept")] * 3
        assert await at.free("/sleepy", 4) == 3


async def test_a07_what_no_node_took_in_time_is_503_and_never_runs(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, threads=2)
        await at.ready("/sleepy")
        begun = time.monotonic()

        async def call(name: str) -> tuple[Any, float]:
            form = {"seconds": 0.7, "name": name}
            answer = await at.call("/sleepy", form, confirm_timeout=1)
            return answer, time.monotonic() - begun

        answers = await asyncio.gather(*[call(f"n{number}") for number in range(6)])
        late = [seconds for answer, seconds in answers if answer == (False, -1)]
        served = {answer[1] for answer, _ in answers if answer[0]}
        assert len(late) == 2
        assert all(0.8 <= seconds <= 1.3 for seconds in late)
        await asyncio.sleep(0.9)
        assert {text.partition(" ")[2] for text in at.noted()} == served


async def test_a08_work_that_goes_on_keeps_its_room(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 1}, threads=2)
        await at.ready("/sleepy")
        await at.call("/sleepy")
        form = {"seconds": 1.5, "name": "long"}
        with took(0.4, 0.8):
            assert await at.call("/sleepy", form, process_timeout=0.5) == (False, -2)
        with pytest.raises(Refusal):
            await at.call("/sleepy")
        await until(lambda: "ended long" in at.noted())
        await asyncio.sleep(0.1)
        assert await at.free("/sleepy", 2) == 1


async def test_a08_process_timeout_counts_from_the_lease(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, threads=1)
        await at.ready("/sleepy")
        await at.call("/sleepy")
        first = asyncio.create_task(at.call("/sleepy", {"seconds": 0.6}))
        await until(lambda: at.raw.zcard(at.key("leases")) == 1)
        with took(1.0, 1.7):  # 0.6 in the line, 0.7 at work
            form = {"seconds": 1.2}
            answer = await at.call("/sleepy", form, confirm_timeout=5, process_timeout=0.7)
        assert answer == (False, -2)
        assert await first == (True, "slept")
        await until(lambda: not at.raw.zcard(at.key("leases")))


async def test_a17_a_node_that_starts_takes_nothing_away(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 4}, threads=1)
        await at.ready("/sleepy")
        form = {"seconds": 0.5}
        calls = [asyncio.create_task(at.call("/sleepy", form)) for _ in range(4)]
        await until(lambda: at.raw.hlen(at.key("tasks")) == 4)
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 4}, threads=1, run_startup=True)
        with pytest.raises(Refusal):
            await at.call("/sleepy")
        assert await asyncio.gather(*calls) == [(True, "slept")] * 4
        assert await at.free("/sleepy", 5) == 4


async def test_a19_the_room_of_a_killed_gateway_comes_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAK_LEASE", "1")
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 5}, threads=1)
        await at.ready("/sleepy")
        spec = {"url": server.url, "path": "/sleepy", "calls": 3, "seconds": 0.3}
        gateway = at.start("tests.compat.caller", json.dumps(spec))
        await until(lambda: "inside 3" in gateway.text())
        assert await at.free("/sleepy", 5) == 2
        gateway.signal(signal.SIGKILL)
        killed = time.monotonic()
        while await at.free("/sleepy", 5) < 5:
            assert time.monotonic() - killed < 2, "a lease and a second"
            await asyncio.sleep(0.1)
        noted = len(at.noted())
        await asyncio.sleep(0.5)
        assert len(at.noted()) == noted, "what waited ran without anybody to answer"


async def test_a32_a_task_that_waits_goes_with_its_caller_and_never_runs(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 2}, threads=1)
        await at.ready("/sleepy")
        first = asyncio.create_task(at.call("/sleepy", {"seconds": 0.8, "name": "first"}))
        await until(lambda: at.raw.zcard(at.key("leases")) == 1)
        waiting = asyncio.create_task(at.call("/sleepy", {"name": "waiting"}))
        await until(lambda: at.raw.hlen(at.key("tasks")) == 2)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        with took(0, 0.2):
            assert await at.free("/sleepy", 2) == 1
        # One that runs goes on, and its room comes back when it has ended.
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert await at.free("/sleepy", 2) == 1
        await until(lambda: "ended first" in at.noted())
        await asyncio.sleep(0.1)
        assert await at.free("/sleepy", 3) == 2
        assert at.noted() == ["began first", "ended first"]


async def _raise_inside(manager: DistributedTaskApplyManager) -> None:
    async with manager:
        assert manager.success()
        raise ZeroDivisionError


async def test_a33_a_handler_that_raises_gives_its_room_back(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 1}, threads=1)
        await at.ready("/sleepy")
        for _ in range(3):
            manager = DistributedTaskApplyManager(at.client, "/sleepy")
            with pytest.raises(ZeroDivisionError):
                await _raise_inside(manager)
        assert await at.free("/sleepy", 2) == 1


async def test_several_calls_in_one_with_use_one_place(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 2}, threads=3)
        await at.ready("/sleepy")
        async with DistributedTaskApplyManager(at.client, "/sleepy", 2, 0.4) as manager:
            for number in range(4):
                answer = await manager.redis_channel_listening_result({"name": f"n{number}"})
                assert answer == (True, f"n{number}")
                assert await at.free("/sleepy", 2) == 1
            # The work of this one goes on, so the next one needs room of its own.
            assert await manager.rclt({"seconds": 1.0}, 0) == (False, -2)
            assert await manager.rclt({}) == (True, "slept")
            answers = await asyncio.gather(*[manager.rclt({}) for _ in range(2)])
            assert sorted(answers) == [(False, -1), (True, "slept")]
        await asyncio.sleep(0.8)
        assert await at.free("/sleepy", 3) == 2


async def test_a46_nothing_is_both_503_and_run(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, threads=1)
        await at.ready("/sleepy")
        await at.call("/sleepy")
        for number in range(12):
            blocking = asyncio.create_task(at.call("/sleepy", {"seconds": 0.3}))
            await until(lambda: at.raw.zcard(at.key("leases")) == 1)
            # Around the moment in which the slot comes free.
            timeout = 0.27 + 0.005 * number
            name = f"n{number}"
            answer = await at.call("/sleepy", {"name": name}, confirm_timeout=timeout)
            assert await blocking == (True, "slept")
            await asyncio.sleep(0.03)
            assert answer in ((True, name), (False, -1))
            assert (f"began {name}" in at.noted()) is answer[0]


async def test_all_places_of_a_manager_come_back_also_where_its_end_is_cut_short(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/x": "echo"}, {"/x": 5})
        await at.ready("/x")
        while True:  # a machine that does much else may need longer for the first than it may take
            async with DistributedTaskApplyManager(at.client, "/x") as first:
                if first.success():
                    break
        entered = asyncio.Event()

        async def handler() -> None:
            async with DistributedTaskApplyManager(at.client, "/x") as manager:
                assert manager._gateway is not None
                manager._places.append(await manager._gateway.enter(manager._route))
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(handler())
        await entered.wait()
        assert at.raw.zcard(at.key("places")) == 2
        while not task.done():  # as anyio cancels: at each place where it waits
            task.cancel()
            await asyncio.sleep(0)
        await until(lambda: at.raw.zcard(at.key("places")) == 0)
