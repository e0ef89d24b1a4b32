"""A worker that stops leases nothing more, whatever waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyclient import Queue
from tests.servers import Server
from tests.worker.rig import eventually, serving
from worker_app import Worker


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

    async with Queue.from_url(server.url, name=queue_name) as queue:
        async with serving(worker) as run:
            await eventually(lambda: worker.session is not None)
            assert worker.session is not None
            commands = worker.session.loop._commands
            claim = commands.claim

            async def held_up(*args: Any) -> Any:
                reply = await claim(*args)
                if reply.tasks:
                    claimed.set()
                    await go_on.wait()
                return reply

            monkeypatch.setattr(commands, "claim", held_up)
            ticket = await queue.submit("echo", "x")
            await claimed.wait()
            worker.stop()
            go_on.set()
            await run
        gauge = await queue.gauge()
        assert (gauge["waiting"], gauge["running"]) == (1, 0)
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
