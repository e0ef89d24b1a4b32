"""A worker that stops leases nothing more, whatever waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyclient import Queue
from pyclient.commands import Commands
from tests.servers import Server
from tests.worker.rig import echo, eventually, serving
from worker_app import Worker
from worker_app.standing import Standing


@pytest.mark.leaves_keys  # what waits goes on waiting
async def test_a_worker_that_drains_leases_nothing_more(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url, concurrency=2)
    go_on, began = asyncio.Event(), list[Any]()

    @worker.route("echo")
    async def echo(payload: Any) -> Any:
        began.append(payload)
        await go_on.wait()
        await asyncio.sleep(0.05 * len(began))
        return payload

    async with Queue.from_url(server.url, name=queue_name) as queue:
        async with serving(worker) as run:
            await queue.submit_many("echo", range(6))
            await eventually(lambda: len(began) == 2)
            worker.stop()
            go_on.set()
            await run
        gauge = await queue.gauge()
        assert (gauge["leased"], gauge["done"], gauge["waiting"]) == (2, 2, 4)


async def test_what_a_claim_brings_after_the_stop_goes_back_at_once(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(queue_name, url=server.url)
    go_on, claimed = asyncio.Event(), asyncio.Event()

    @worker.route("echo")
    async def echo(payload: Any) -> Any:
        return payload

    claim = Commands.claim

    async def held_up(*args: Any, **named: Any) -> Any:
        reply = await claim(*args, **named)
        if reply.tasks:
            claimed.set()
            await go_on.wait()
        return reply

    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.submit("echo", "x")
        monkeypatch.setattr(Commands, "claim", held_up)
        async with serving(worker) as run:
            await claimed.wait()
            worker.stop()
            go_on.set()
            await run
        gauge = await queue.gauge()
        assert (gauge["waiting"], gauge["running"]) == (1, 0)
        async with serving(worker):
            assert await ticket.result(timeout=5) == "x"


async def test_what_is_given_after_the_stop_goes_back_at_once(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdraw, go_on = Standing.withdraw, asyncio.Event()

    async def held_up(*args: Any) -> None:
        await go_on.wait()
        await withdraw(*args)

    monkeypatch.setattr(Standing, "withdraw", held_up)
    worker = echo(server, queue_name)
    async with Queue.from_url(server.url, name=queue_name) as queue:
        async with serving(worker) as run:
            await eventually(lambda: worker.session and worker.session.loop.standing.slots)
            worker.stop()
            ticket = await queue.submit("echo", "x")
            go_on.set()
            await run
        gauge = await queue.gauge()
        assert (gauge["leased"], gauge["waiting"], gauge["running"]) == (1, 1, 0)
        async with serving(worker):
            assert await ticket.result(timeout=5) == "x"


async def test_a_hint_that_a_draining_worker_hears_is_passed_on(
    server: Server, queue_name: str
) -> None:
    go_on = asyncio.Event()
    one, two = (Worker(queue_name, url=server.url, concurrency=2) for _ in "12")
    for worker in (one, two):

        @worker.route("hold")
        async def hold(payload: Any) -> None:
            await go_on.wait()

        @worker.route("echo")
        async def echo(payload: Any, of: Worker = worker) -> str:
            return "one" if of is one else "two"

    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=120)  # nobody sweeps for long
        async with serving(one) as run:
            held = await queue.submit("hold")
            await eventually(lambda: _running(one) == 1 and _listens(one))
            async with serving(two):
                await eventually(lambda: _listens(two))
                one.stop()
                await eventually(lambda: one.session is not None and one.session.loop.draining)
                assert await queue.call("echo", timeout=10) == "two"
                go_on.set()
                await held.result(timeout=10)
                await run


def _running(worker: Worker) -> int:
    return len(worker.session.desk.running) if worker.session is not None else 0


def _listens(worker: Worker) -> bool:
    hints = worker.session._hints if worker.session is not None else None
    return hints is not None and hints.waiting
