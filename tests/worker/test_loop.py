"""The conversation with the queue: when it asks, for how much, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyclient import ConfigError, Queue
from pyclient.commands import Commands
from tests.servers import Server
from tests.worker.rig import echo, eventually, line, noting, serving
from worker_app import Worker, hints


def calls(server: Server) -> dict[str, int]:
    """Commands that clients sent since the last reset: those of scripts are not among them."""
    stats = server.client().info("commandstats")
    names = ("evalsha", "blpop", "xread")
    return {name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names}


async def test_an_idle_worker_hardly_asks(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hints.BLOCK_S >= 5
    monkeypatch.setattr(hints, "BLOCK_S", 1)
    async with serving(echo(server, queue_name)):
        await asyncio.sleep(0.5)
        server.client().config_resetstat()
        await asyncio.sleep(3)
        asked = calls(server)
    # A poll is one read and one claim, and nothing else is sent.
    assert 2 <= asked["blpop"] <= 3
    assert 2 <= asked["evalsha"] <= 3


async def test_a_busy_worker_takes_no_hints_and_sends_batches(
    server: Server, queue_name: str
) -> None:
    count = 2000
    async with Queue.from_url(server.url, name=queue_name) as queue:
        tickets = await queue.submit_many("echo", range(count))
        server.client().config_resetstat()
        async with serving(echo(server, queue_name)):
            results = await asyncio.gather(*(ticket.result(timeout=20) for ticket in tickets))
        assert results == list(range(count))
        asked = calls(server)
        assert asked["blpop"] <= 4, asked
        assert asked["evalsha"] <= count / 64 + 40, asked


async def test_a_free_slot_is_used_while_others_are_taken(server: Server, queue_name: str) -> None:
    worker = echo(server, queue_name, concurrency=2)
    go_on = asyncio.Event()

    @worker.route("wait")
    async def wait(payload: Any) -> None:
        await go_on.wait()

    async with line(server, queue_name, worker) as queue:
        waiting = asyncio.create_task(queue.call("wait"))
        await asyncio.sleep(0.2)
        for number in range(20):
            assert await queue.call("echo", number, timeout=2) == number
        go_on.set()
        await waiting


async def test_no_hint_is_lost_to_a_call_in_flight(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Commands.publish

    async def late(*args: Any, **named: Any) -> Any:
        reply = await publish(*args, **named)
        await asyncio.sleep(0.1)  # what is admitted now is not in this reply
        return reply

    monkeypatch.setattr(Commands, "publish", late)
    worker = Worker(queue_name, url=server.url)

    @worker.route("brief")
    async def brief(payload: Any) -> None:
        await asyncio.sleep(0.05)  # so that it waits for hints meanwhile

    async with line(server, queue_name, worker) as queue:
        for _ in range(5):
            await queue.call("brief", timeout=2)


async def test_it_never_runs_more_than_its_slots(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url, concurrency=3)
    running: list[int] = []
    most = 0

    @worker.route("count")
    async def count(number: int) -> None:
        nonlocal most
        running.append(number)
        most = max(most, len(running))
        await asyncio.sleep(0.005)
        running.remove(number)

    async with line(server, queue_name, worker) as queue:
        await asyncio.gather(*(queue.call("count", number) for number in range(60)))
    assert most == 3


async def test_a_hint_that_a_busy_worker_took_reaches_an_idle_one(
    server: Server, queue_name: str
) -> None:
    slow, idle = (Worker(queue_name, url=server.url, concurrency=1) for _ in range(2))
    go_on = asyncio.Event()
    ran: list[str] = []

    @slow.route("wait")
    async def wait(payload: Any) -> None:
        ran.append("slow")
        await go_on.wait()

    @idle.route("wait")
    async def run(payload: Any) -> None:
        ran.append("idle")

    async with serving(slow), Queue.from_url(server.url, name=queue_name) as queue:
        first = asyncio.create_task(queue.call("wait"))
        await eventually(lambda: ran)
        async with serving(idle):
            await asyncio.sleep(0.3)
            for _ in range(5):
                await queue.call("wait", timeout=2)
        go_on.set()
        await first
    assert ran == ["slow"] + ["idle"] * 5


async def test_levels_above_its_own_are_left_to_others(server: Server, queue_name: str) -> None:
    async with line(server, queue_name, echo(server, queue_name, max_level=2)) as queue:
        ticket = await queue.submit("echo", 1, level=3)
        assert await queue.call("echo", 2, level=2) == 2
        assert await ticket.state() == "waiting"
        await ticket.cancel()


async def test_an_unknown_route_is_handed_back_uncounted(server: Server, queue_name: str) -> None:
    async with line(server, queue_name, echo(server, queue_name)) as queue:
        ticket = await queue.submit("later", 5)
        assert await queue.call("echo", 1) == 1
        await asyncio.sleep(0.2)
        late = Worker(queue_name, url=server.url)
        attempts = noting(late, "later")
        async with serving(late):
            assert await ticket.result(timeout=8) == 5
    assert attempts == [1]


async def test_a_queue_of_the_other_mode_is_refused(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue, queue.slot():
        pass
    with pytest.raises(ConfigError, match="mode pull"):
        await echo(server, f"{queue_name}.hold").run()


async def test_stop_lets_what_runs_end_and_hands_back_the_rest(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url, concurrency=4)
    began: list[int] = []

    @worker.route("work")
    async def work(number: int) -> int:
        began.append(number)
        await asyncio.sleep(0.3)
        return number

    async with Queue.from_url(server.url, name=queue_name) as queue:
        tickets = await queue.submit_many("work", range(20))
        async with serving(worker) as running:
            await eventually(lambda: len(began) == 4)
            worker.stop()
            await asyncio.wait_for(running, 3)
        assert len(began) == 4
        assert [await ticket.result(timeout=1) for ticket in tickets[:4]] == [0, 1, 2, 3]
        gauge = await queue.gauge()
        assert (gauge["waiting"], gauge["running"]) == (16, 0)
        async with serving(worker):
            assert await tickets[-1].result(timeout=5) == 19


async def test_stopping_again_hands_back_what_runs(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url, concurrency=4)
    began: list[int] = []

    @worker.route("work")
    async def work(number: int, ctx: Any) -> int:
        began.append(number)
        if ctx.attempt == 1:
            await asyncio.sleep(30)
        return int(ctx.attempt)

    async with Queue.from_url(server.url, name=queue_name) as queue:
        tickets = await queue.submit_many("work", range(3))
        async with serving(worker) as running:
            await eventually(lambda: len(began) == 3)
            worker.stop()
            worker.stop()
            await asyncio.wait_for(running, 3)
        gauge = await queue.gauge()
        assert (gauge["waiting"], gauge["running"]) == (3, 0)
        async with serving(worker):
            assert [await ticket.result(timeout=5) for ticket in tickets] == [2, 2, 2]
