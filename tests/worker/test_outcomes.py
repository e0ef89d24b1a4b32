"""From what a handler does to what its caller gets."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pyclient import Queue, TaskCancelled, TaskDead, TaskFailed
from tests.servers import Server
from tests.worker.rig import eventually, line, serving
from worker_app import Context, Retry, Worker


async def test_every_kind_of_function_answers(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url)
    threads: list[str] = []

    @worker.route("async")
    async def on_loop(payload: Any) -> Any:
        threads.append(threading.current_thread().name)
        return ["async", payload]

    @worker.route("thread")
    def in_thread(payload: Any) -> Any:
        threads.append(threading.current_thread().name)
        return ["thread", payload]

    def wrapper(payload: Any) -> Any:
        return on_loop(payload)

    worker.route("wrapped")(wrapper)
    worker.route("partial")(functools.partial(on_loop))
    async with line(server, queue_name, worker) as queue:
        assert await queue.call("async", {"a": [1, None, b"\x00", 2.5]}) == [
            "async",
            {"a": [1, None, b"\x00", 2.5]},
        ]
        assert await queue.call("thread", "x") == ["thread", "x"]
        assert await queue.call("wrapped", 1) == ["async", 1]
        assert await queue.call("partial", 1) == ["async", 1]
    assert threads[0] == "MainThread"
    assert threads[1].startswith("peak-handler")


async def test_the_context_tells_what_is_known(server: Server, queue_name: str) -> None:
    @asynccontextmanager
    async def lifespan(worker: Worker) -> AsyncIterator[dict[str, str]]:
        yield {"name": worker.name}

    worker = Worker(queue_name, url=server.url, lifespan=lifespan)
    seen: list[Context] = []

    @worker.route("look", timeout=20)
    async def look(payload: Any, ctx: Context) -> None:
        seen.append(ctx)

    async with line(server, queue_name, worker) as queue:
        ticket = await queue.submit("look", level=1, tenant="acme")
        await ticket.result()
        await queue.call("look")
    first, second = seen
    assert (first.id, first.route, first.level, first.tenant) == (ticket.id, "look", 1, "acme")
    assert first.attempt == 1
    assert first.state == {"name": queue_name}
    assert second.fence > first.fence > 0
    assert 15 < first.deadline - time.monotonic() <= 20
    assert 15 < first.remaining() <= 20


async def test_a_handler_past_its_time_is_cancelled(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url)
    cancelled: list[float] = []

    @worker.route("slow", timeout=0.2)
    async def slow(payload: Any) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(time.monotonic())
            raise

    async with line(server, queue_name, worker) as queue:
        began = time.monotonic()
        with pytest.raises(TaskFailed, match=r"timed out after 0\.2 s"):
            await queue.call("slow")
        assert 0.15 < cancelled[0] - began < 1
        gauge = await queue.gauge()
        assert gauge["running"] == 0


async def test_the_time_of_the_submission_counts_where_it_is_shorter(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)

    @worker.route("slow", timeout=20)
    async def slow(payload: Any) -> None:
        await asyncio.sleep(10)

    async with line(server, queue_name, worker) as queue:
        ticket = await queue.submit("slow", timeout=0.5)
        with pytest.raises(TaskFailed, match=r"timed out after 0\.5 s"):
            await ticket.result(timeout=5)


async def test_a_thread_past_its_time_is_answered_for_and_keeps_its_slot(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url, concurrency=1)
    go_on = threading.Event()

    @worker.route("thread", timeout=0.2)
    def thread(payload: Any) -> None:
        go_on.wait(10)

    @worker.route("next")
    async def following(payload: Any) -> str:
        return "done"

    async with line(server, queue_name, worker) as queue:
        with pytest.raises(TaskFailed, match="timed out"):
            await queue.call("thread")
        waiting = asyncio.create_task(queue.call("next"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        go_on.set()
        assert await asyncio.wait_for(waiting, 2) == "done"


async def test_a_handler_that_asks_for_it_runs_again_and_is_buried_at_last(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)
    attempts: list[int] = []

    @worker.route("again")
    async def again(payload: Any, ctx: Context) -> str:
        attempts.append(ctx.attempt)
        if payload == "never" or ctx.attempt < 3:
            raise Retry(0.01, reason="not yet")
        return "at last"

    async with line(server, queue_name, worker) as queue:
        assert await queue.call("again") == "at last"
        assert attempts == [1, 2, 3]
        attempts.clear()
        with pytest.raises(TaskDead, match="not yet") as caught:
            await queue.call("again", "never")
        assert attempts == [1, 2, 3]
        ticket = await queue.revive(caught.value.task_id)
        with pytest.raises(TaskDead, match="not yet"):
            await ticket.result(timeout=5)
        assert attempts == [1, 2, 3, 1, 2, 3]


async def test_errors_named_by_the_route_are_retried_others_are_not(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)
    attempts: list[int] = []

    @worker.route("flaky", retry_on=(ConnectionError,))
    async def flaky(kind: str, ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if kind == "other":
            raise ValueError("no use")
        if ctx.attempt == 1:
            raise ConnectionResetError("once")
        return ctx.attempt

    async with line(server, queue_name, worker) as queue:
        assert await queue.call("flaky", "once") == 2
        with pytest.raises(TaskFailed, match="ValueError: no use"):
            await queue.call("flaky", "other")
    assert attempts == [1, 2, 1]


async def test_a_route_with_fewer_attempts_is_not_run_more_often(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)
    attempts: list[int] = []

    @worker.route("once", attempts=1)
    async def once(payload: Any, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise Retry

    async with line(server, queue_name, worker) as queue:
        with pytest.raises(TaskDead, match="asked for another attempt"):
            await queue.call("once")
        assert (await queue.gauge())["dead"] == 1
    assert attempts == [1]


async def test_bodies_too_large_for_the_scripts_travel_beside_them(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)

    @worker.route("double")
    async def double(payload: bytes) -> bytes:
        return payload + payload

    @worker.route("raw", raw=True)
    async def raw(payload: bytes) -> bytes:
        return payload + payload

    client = server.client()
    async with line(server, queue_name, worker) as queue:
        for size in (10, 4090, 4097, 1 << 20):
            assert await queue.call("double", b"x" * size) == b"x" * (2 * size)
            assert await queue.exchange("raw", b"y" * size, wait_ms=5000, run_ms=5000) == b"y" * (
                2 * size
            )
        await eventually(lambda: not list(client.scan_iter("*body:*")))
        ticket = await queue.submit("double", b"x" * 5000)
        assert await ticket.result() == b"x" * 10_000
        assert await ticket.result() == b"x" * 10_000  # kept


async def test_a_body_that_is_gone_fails_the_task(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url)

    @worker.route("never")
    async def never(payload: bytes) -> None:
        raise AssertionError("it has no body")

    client = server.client()
    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.submit("never", b"x" * 5000)
        for key in client.scan_iter("*body:*"):
            client.delete(key)
        async with serving(worker):
            with pytest.raises(TaskFailed, match="its body is gone"):
                await ticket.result(timeout=5)


async def test_a_cancelled_task_stops_its_handler(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url)
    began, cancelled = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = threading.Event()

    @worker.route("wait")
    async def wait(payload: Any) -> None:
        began.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @worker.route("thread")
    def thread(payload: Any) -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(10)

    async with line(server, queue_name, worker) as queue:
        ticket = await queue.submit("wait")
        await asyncio.wait_for(began.wait(), 5)
        await ticket.cancel()
        await asyncio.wait_for(cancelled.wait(), 2)
        with pytest.raises(TaskCancelled):
            await ticket.result(timeout=2)
        began.clear()
        ticket = await queue.submit("thread")
        await asyncio.wait_for(began.wait(), 5)
        await ticket.cancel()
        await asyncio.sleep(0.3)
        go_on.set()
        with pytest.raises(TaskCancelled):
            await ticket.result(timeout=2)


async def test_a_caller_that_gives_up_stops_the_handler(server: Server, queue_name: str) -> None:
    worker = Worker(queue_name, url=server.url)
    ends: list[str] = []

    @worker.route("wait")
    async def wait(payload: Any) -> None:
        try:
            await asyncio.sleep(20)
        finally:
            ends.append("stopped")

    async with line(server, queue_name, worker) as queue:
        call = asyncio.create_task(queue.call("wait"))
        await asyncio.sleep(0.3)
        call.cancel()
        await eventually(lambda: ends, timeout=3)
