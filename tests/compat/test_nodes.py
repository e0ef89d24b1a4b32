"""Nodes: levels, their starts and ends. A09 to A16, A39, A44, A47."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server

from .rig import Site, site, took, until
from .seed import QueueWorker


async def noted_order(at: Site) -> list[str]:
    return [text.partition(" ")[2] for text in at.noted() if text.startswith("began")]


async def test_a09_a_node_takes_levels_up_to_its_limit(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, threads=4, allowed_type_limit=4)
        await at.ready("/sleepy")
        levels = (0, 3, 4, 5, 9)
        calls = {
            level: asyncio.create_task(
                at.call("/sleepy", {"name": f"l{level}"}, level, confirm_timeout=60)
            )
            for level in levels
        }
        for level in (0, 3, 4):
            assert await calls[level] == (True, f"l{level}")
        await asyncio.sleep(0.3)
        assert not calls[5].done()
        assert not calls[9].done()
        at.node({"/sleepy": "sleepy"}, threads=4)
        assert await calls[5] == (True, "l5")
        assert await calls[9] == (True, "l9")


async def test_a10_order_is_first_come_first_served_whatever_the_level(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, threads=1)
        await at.ready("/sleepy")
        calls = [asyncio.create_task(at.call("/sleepy", {"seconds": 0.3, "name": "busy"}))]
        await until(lambda: at.raw.zcard(at.key("leases")) == 1)
        for number, level in enumerate((8, 9, 1, 5, 0)):
            form = {"name": f"n{number}"}
            calls.append(asyncio.create_task(at.call("/sleepy", form, level)))
            await at.living(number + 2)
        await asyncio.gather(*calls)
        assert await noted_order(at) == ["busy", "n0", "n1", "n2", "n3", "n4"]


async def test_a11_the_caller_of_a_killed_node_is_told_within_a_lease(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAK_LEASE", "1")
    async with site(server, tmp_path) as at:
        victim = at.node({"/sleepy": "sleepy"}, {"/sleepy": 2}, threads=1)
        await at.ready("/sleepy")
        call = asyncio.create_task(at.call("/sleepy", {"seconds": 30, "name": "x"}))
        await until(lambda: "began x" in at.noted())
        other = at.node({"/sleepy": "sleepy"}, {"/sleepy": 2}, threads=1)
        await other.said("serving")
        victim.signal(signal.SIGKILL)
        with took(0, 2.5):
            ok, text = await call
        assert not ok
        assert text.startswith("<class 'pyclient.errors.TaskLost'>:")
        assert await at.call("/sleepy") == (True, "slept")
        assert await at.free("/sleepy", 3) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a12_a_node_that_stops_leaves_the_other_serving(
    server: Server, tmp_path: Path, number: signal.Signals
) -> None:
    async with site(server, tmp_path) as at:
        nodes = [at.node({"/sleepy": "sleepy"}, threads=2) for _ in range(2)]
        await at.ready("/sleepy")
        for node in nodes:
            await node.said("serving")
        calls = []
        for index in range(60):
            calls.append(asyncio.create_task(at.call("/sleepy", {"seconds": 0.02})))
            await asyncio.sleep(0.005)
            if index == 20:
                nodes[0].signal(number)
        assert await asyncio.gather(*calls) == [(True, "slept")] * 60
        assert nodes[0].wait() == 0
        assert nodes[1].process.poll() is None
        assert await at.call("/sleepy") == (True, "slept")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a14_a_node_with_a_free_slot_finishes_what_runs_and_exits_0(
    server: Server, tmp_path: Path, number: signal.Signals
) -> None:
    async with site(server, tmp_path) as at:
        node = at.node({"/sleepy": "sleepy"}, threads=3)
        await at.ready("/sleepy")
        running = asyncio.create_task(at.call("/sleepy", {"seconds": 1.0, "name": "last"}))
        await until(lambda: "began last" in at.noted())
        node.signal(number)
        await asyncio.sleep(0.1)
        after = await at.call("/sleepy", {"name": "after"}, confirm_timeout=0.3)
        assert after == (False, -1)
        assert await running == (True, "last")
        assert node.wait() == 0
        assert "over" in node.text()
        assert at.noted() == ["began last", "ended last"]


async def test_a15_a_node_with_all_slots_busy_finishes_sync_and_async_work(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        node = at.node({"/sleepy": "sleepy", "/awake": "awake"}, threads=2)
        await at.ready("/sleepy", "/awake")
        calls = [
            asyncio.create_task(at.call("/sleepy", {"seconds": 1.2, "name": "slow"})),
            asyncio.create_task(at.call("/awake", {"seconds": 1.2})),
        ]
        await until(lambda: at.raw.zcard(at.key("leases")) == 2)
        await until(lambda: "began slow" in at.noted())
        await asyncio.sleep(0.3)  # what is leased and has not begun is handed back
        node.signal(signal.SIGINT)
        assert await asyncio.gather(*calls) == [(True, "slow"), (True, "awake")]
        assert node.wait() == 0


async def test_a16_a_node_that_comes_late_serves_what_waits(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        first = at.node({"/sleepy": "sleepy"}, threads=1)
        await at.ready("/sleepy")
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        with took(0.4, 0.8):  # known, and nobody there
            assert await at.call("/sleepy", confirm_timeout=0.5) == (False, -1)
        call = asyncio.create_task(at.call("/sleepy", {"name": "early"}, confirm_timeout=60))
        await until(lambda: at.raw.hlen(at.key("tasks")) == 1)
        at.node({"/sleepy": "sleepy"}, threads=1, run_startup=False)
        assert await call == (True, "early")


async def test_a39_a_node_needs_no_logger_and_no_table(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/add": "add"}, {}, threads=1, run_startup=True)
        await at.ready("/add")
        assert await at.call("/add", {"a": 1, "b": 2}) == (True, 3)


async def test_a44_garbage_in_the_queue_does_not_stop_a_node(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/add": "add"}, threads=1)
        await at.ready("/add")
        at.raw.rpush("queue:web", b"\xff\x00garbage")
        at.raw.expire("queue:web", 60)
        at.raw.zadd(at.key("wait:0"), {b"\xff" * 22: 1, "no": 2})
        at.raw.zadd(at.key("ready:0"), {"*": 1})
        at.raw.rpush(at.key("wake:9"), b"\xff", "1")
        at.raw.expire(at.key("wake:9"), 60)
        assert await at.call("/add", {"a": 1, "b": 2}) == (True, 3)
        at.raw.delete(at.key("wait:0"), at.key("ready:0"))


async def test_a47_each_task_runs_once_with_three_nodes(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        for _ in range(3):
            at.node({"/sleepy": "sleepy"}, threads=2)
        await at.ready("/sleepy")
        names = [f"t{number}" for number in range(25)]
        form = {"seconds": 0.05}
        answers = await asyncio.gather(
            *[at.call("/sleepy", {**form, "name": name}) for name in names]
        )
        assert answers == [(True, name) for name in names]
        assert sorted(await noted_order(at)) == sorted(names)


async def test_a_node_can_be_closed_from_within(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        node = QueueWorker(at.client, 2, {"/x": 3}, None, True)
        assert (node.pid, node.mysql, node.redis) == (os.getpid(), None, at.client)
        node.startup()
        await node.async_startup()
        await at.ready("/x")
        before = signal.getsignal(signal.SIGTERM)
        serving = asyncio.create_task(node.run_serve())
        await asyncio.sleep(0)
        node.method_register("/late", lambda redis, mysql: "late")  # while it serves
        await at.ready("/late")
        assert await at.call("/late") == (True, "late")
        assert not node.closeing()
        await node.close()
        await node.wait_closed()
        await serving
        assert node.closeing()
        assert signal.getsignal(signal.SIGTERM) == before
        await node.run_serve()  # told to stop before it began
        await node.wait_closed()


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 0},
        {"threads": 1.5},
        {"allowed_type_limit": 10},
        {"allowed_type_limit": -1},
    ],
)
def test_wrong_arguments_of_a_node_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        QueueWorker("redis://nowhere", **options)


def test_a_limit_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="limit of '/x' None: expected an integer"):
        QueueWorker("redis://nowhere", 1, {"/x": None})  # type: ignore[dict-item]
