"""A Redis that restarts, forgets, or is away: workers go on without being restarted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from pyclient import PeakError, Queue
from tests.servers import Server
from tests.worker.rig import echo, eventually, line, serving
from worker_app import Worker, hints


async def served(queue: Queue, value: object, *, within: float) -> None:
    """Call until it works: what was in flight at a fault may fail, what comes later not."""
    end = time.monotonic() + within
    while True:
        with contextlib.suppress(PeakError):
            assert await queue.call("echo", value, timeout=5) == value
            return
        assert time.monotonic() < end, f"not served within {within} s"
        await asyncio.sleep(0.05)


async def test_limits_of_routes_are_announced(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url)
    running = most = 0

    @worker.route("narrow", concurrency=2, room=40)
    async def narrow(payload: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    async with line(server, queue_name, worker) as queue:
        await asyncio.gather(*(queue.call("narrow") for _ in range(30)))
        assert most == 2
        server.restart()  # without what it knew
        end = time.monotonic() + 10
        most = 0
        while time.monotonic() < end and most == 0:
            with contextlib.suppress(PeakError):
                await queue.call("narrow", timeout=3)
        await asyncio.gather(*(queue.call("narrow") for _ in range(30)))
        assert most == 2


async def test_scripts_that_are_flushed_are_loaded_again(server: Server, queue_name: str) -> None:
    client = server.client()
    async with line(server, queue_name, echo(server, queue_name)) as queue:
        for number in range(20):
            client.script_flush()
            assert await queue.call("echo", number, timeout=5) == number


async def test_an_emptied_redis_is_served_on(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It forgot who waits for hints: the next poll tells it.
    monkeypatch.setattr(hints, "BLOCK_S", 1)
    client = server.client()
    async with line(server, queue_name, echo(server, queue_name)) as queue:
        await queue.call("echo")
        client.flushall()
        await served(queue, 1, within=4)


async def test_a_redis_that_restarts_is_served_on(server: Server, queue_name: str) -> None:
    async with line(server, queue_name, echo(server, queue_name)) as queue:
        for number in range(2):
            await queue.call("echo", number)
            server.kill()
            await asyncio.sleep(0.3)
            server.start()
            await served(queue, number, within=6)


async def test_a_redis_that_is_away_costs_little_and_holds_no_one_up(
    server: Server, queue_name: str
) -> None:
    worker = echo(server, queue_name)
    async with serving(worker) as running:
        await asyncio.sleep(0.2)
        server.kill()
        try:
            before = time.process_time()
            await asyncio.sleep(2)
            assert time.process_time() - before < 0.1
            began = time.monotonic()
            worker.stop()
            await asyncio.wait_for(running, 5)
            assert time.monotonic() - began < 3
        finally:
            server.start()


async def test_it_waits_for_a_redis_that_is_not_there_yet(server: Server, queue_name: str) -> None:
    server.kill()
    worker = echo(server, queue_name)
    try:
        async with serving(worker):
            await asyncio.sleep(0.3)
        async with serving(worker) as running:
            await asyncio.sleep(0.5)
            assert not running.done()
            server.start()
            async with Queue.from_url(server.url, name=queue_name) as queue:
                assert await queue.call("echo", 1, timeout=5) == 1
    finally:
        if not server.running():
            server.start()


async def test_replies_that_are_lost_are_asked_for_again(server: Server, queue_name: str) -> None:
    client = server.client()
    async with Queue.from_url(server.url, name=queue_name) as queue:
        tickets = await queue.submit_many("echo", range(400))
        async with serving(echo(server, queue_name, concurrency=4)):

            async def cut() -> None:
                while True:
                    await asyncio.sleep(0.02)
                    client.client_kill_filter(_type="normal", skipme=True)

            cutting = asyncio.create_task(cut())
            await asyncio.sleep(1)
            cutting.cancel()
            await asyncio.gather(cutting, return_exceptions=True)
            results = await asyncio.gather(*(ticket.result(timeout=15) for ticket in tickets))
    assert results == list(range(400))


async def test_a_worker_that_starts_at_a_full_redis_makes_room(
    server: Server, queue_name: str
) -> None:
    """Its limits can't be set then; those that were set before hold on, and are set later."""

    def limited(concurrency: int) -> Worker:
        worker = Worker(queue_name, url=server.url)
        worker.route("echo", concurrency=concurrency)(_same)
        return worker

    client = server.client(protocol=2)
    async with Queue.from_url(server.url, name=queue_name) as queue:
        async with serving(limited(2)):
            await queue.call("echo", 0, timeout=10)
        tickets = await queue.submit_many("echo", range(5), keep=60)
        client.config_set("maxmemory", 1)
        try:
            worker = limited(3)
            async with serving(worker):
                assert [await one.result(timeout=20) for one in tickets] == [*range(5)]
                client.config_set("maxmemory", 0)
                assert worker.session is not None
                worker.session.loop.recheck = True
                key = f"peak:{{{queue_name}}}:conf"
                await eventually(lambda: client.hget(key, "cap:echo") == b"3")
        finally:
            client.config_set("maxmemory", 0)


async def _same(payload: Any) -> Any:
    return payload
