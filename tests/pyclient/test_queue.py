"""The queue as a program uses it: calls, keys, large bodies, settings, wrong arguments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import (
    BadPayload,
    QueueClosed,
    QueueFull,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TooLate,
)
from tests.pyclient.client_rig import TinyWorker, served, until, waiting
from tests.servers import Server

BIG = b"\xdd\x00" * 150_000
RESP = pytest.mark.parametrize("option", ["", "?protocol=3"], ids=["resp2", "resp3"])


@RESP
async def test_a_call_is_answered_in_both_protocols(
    server: Server, queue_name: str, option: str
) -> None:
    async with served(server.url + option, queue_name) as (queue, worker):
        payload = {"a": [1, 2.5, None, "é", b"\0"]}
        assert await queue.call("r", payload, level=1, tenant="t@x") == payload
        task = worker.seen[0]
        assert (task.route, task.level, task.tenant, task.attempt) == ("r", 1, "t@x", 1)
        answers = await asyncio.gather(*(queue.call("r", i, timeout=10) for i in range(500)))
        assert answers == list(range(500))


async def test_two_queues_of_one_process_do_not_mix(server: Server, queue_name: str) -> None:
    async with (
        served(server.url, queue_name) as (one, _),
        Queue.from_url(server.url, name=queue_name) as twin,
        served(server.url, queue_name + "-2", lambda value: -value) as (other, _),
    ):
        calls = [queue.call("r", i) for i in range(100) for queue in (one, twin, other)]
        answers = await asyncio.gather(*calls)
        assert answers[0::3] == answers[1::3] == list(range(100))
        assert answers[2::3] == [-i for i in range(100)]


async def test_the_first_call_opens_the_queue(server: Server, queue_name: str) -> None:
    async with TinyWorker(server.url, queue_name):
        queue = Queue.from_url(server.url, name=queue_name)
        assert await asyncio.gather(*(queue.call("r", i) for i in range(20))) == list(range(20))
        assert queue.is_open
        await queue.aclose()


async def test_a_failed_handler_is_told_with_its_words(server: Server, queue_name: str) -> None:
    def handle(value: object) -> object:
        return 2**200 if value == "large" else 1 / 0

    async with served(server.url, queue_name, handle) as (queue, _):
        with pytest.raises(TaskFailed, match="ZeroDivisionError: division by zero") as caught:
            await queue.call("r")
        assert len(caught.value.task_id) == 22
        with pytest.raises(TaskFailed, match="an integer outside"):
            await queue.call("r", "large")


@pytest.mark.parametrize("size", [4090, 4094, 4095, 4096, 300_000, 3 << 20])
async def test_bodies_of_any_size_travel_both_ways_and_leave_nothing(
    server: Server, queue_name: str, size: int
) -> None:
    payload = (BIG * (size // len(BIG) + 1))[:size]
    async with served(server.url, queue_name) as (queue, _):
        assert await queue.call("r", payload) == payload
        assert await queue.exchange("r", payload, wait_ms=5000, run_ms=5000) == payload
        client = server.client()
        await until(lambda: client.keys("*body:*") == [], what="no bodies")


async def test_a_large_answer_to_a_small_call_leaves_nothing(
    server: Server, queue_name: str
) -> None:
    async with served(server.url, queue_name, lambda _: BIG) as (queue, _):
        assert await queue.call("r") == BIG
        client = server.client()
        await until(lambda: client.keys("*body:*") == [], what="no bodies")


async def test_large_bodies_of_refused_and_cancelled_calls_are_removed(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        client = server.client()
        call = asyncio.create_task(queue.call("r", BIG))
        await waiting(queue, 1)
        call.cancel()
        await waiting(queue, 0)
        await queue.close("for lunch")
        for refused in (queue.call("r", BIG), queue.call("r", BIG, key="k")):
            with pytest.raises(QueueClosed, match="for lunch"):
                await refused
        await until(lambda: client.keys("*body:*") == [], what="no bodies")


async def test_a_payload_above_the_limit_is_refused_before_it_travels(
    server: Server, queue_name: str
) -> None:
    async with Queue(server.url, queue_name, "peak", max_payload=10_000) as queue:
        with pytest.raises(BadPayload, match="expected at most 10000"):
            await queue.call("r", b"x" * 10_000)
        with pytest.raises(BadPayload, match="expected at most 10000"):
            await queue.submit_many("r", [1, b"x" * 10_000, 2])
        assert (await queue.gauge())["admitted"] == 0


async def test_an_exchange_takes_raw_answers_only(server: Server, queue_name: str) -> None:
    async with (
        Queue.from_url(server.url, name=queue_name) as queue,
        TinyWorker(server.url, queue_name) as worker,
    ):
        worker.handle = lambda _: b"m"
        assert await queue.exchange("r", b"", wait_ms=1000, run_ms=1000) == b"m"
        publish = worker.commands.publish

        async def packed(
            caller: str, number: int, limit: int, level: int, outcomes: Any, **_: Any
        ) -> Any:
            ((task_id, fence, word, _body),) = outcomes
            return await publish(caller, number, limit, level, [(task_id, fence, word, b"m\xc0")])

        worker.commands.publish = packed  # type: ignore[method-assign,assignment]
        with pytest.raises(BadPayload, match="expected raw bytes"):
            await queue.exchange("r", b"", wait_ms=1000, run_ms=1000)


# -- out of time, cancelled, refused ----------------------------------------------------------


async def test_without_a_worker_the_time_out_is_kept_and_nothing_stays(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TaskExpired, match="no answer came"):
            await queue.call("r", timeout=0.3)
        assert 0.25 < loop.time() - began < 0.55
        await waiting(queue, 0)
        assert (await queue.gauge())["expired"] == 1


async def test_a_cancelled_call_leaves_the_line(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        calls = [asyncio.create_task(queue.call("r")) for _ in range(100)]
        await waiting(queue, 100)
        calls += [asyncio.create_task(queue.call("r")) for _ in range(100)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        await waiting(queue, 0)
        assert len(queue._engine._lines["pull"].inbox) == 0


async def test_cancelling_at_any_moment_loses_nothing_and_leaks_nothing(
    server: Server, queue_name: str
) -> None:
    async with served(server.url, queue_name) as (queue, _):
        for turns in range(25):
            calls = [asyncio.create_task(queue.call("r", i)) for i in range(8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert ends[1::2] == [1, 3, 5, 7]

        async def quiet() -> bool:
            gauge = await queue.gauge()
            return bool(gauge["waiting"] + gauge["running"] == 0)

        await until(quiet)
        assert len(queue._engine._lines["pull"].inbox) == 0


async def test_cancelled_by_someone_else_is_told(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        call = asyncio.create_task(queue.call("r"))
        await waiting(queue, 1)
        (line,) = queue._engine._lines.values()
        (task_id,) = line.inbox._waiters
        await line.commands.cancel("operator", 0, "cancelled", [task_id])
        with pytest.raises(TaskCancelled) as caught:
            await call
        assert caught.value.task_id == task_id


async def test_refusals(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(capacity=2, room={"narrow": 1})
        waits = [asyncio.create_task(queue.call(route)) for route in ("narrow", "r")]
        await waiting(queue, 2)
        with pytest.raises(QueueFull, match="the queue is full") as full:
            await queue.call("r")
        assert full.value.retry_after is not None
        await queue.configure(capacity=0)
        with pytest.raises(QueueFull, match="'narrow' has no room"):
            await queue.call("narrow")
        await queue.pause("soon back")
        more = asyncio.create_task(queue.call("r"))
        await waiting(queue, 3)
        await queue.close("for lunch")
        with pytest.raises(QueueClosed, match="for lunch"):
            await queue.call("r")
        await queue.resume()
        async with TinyWorker(server.url, queue_name):
            assert await asyncio.gather(*waits, more) == [None] * 3


async def test_what_can_not_end_in_time_is_refused_at_once(server: Server, queue_name: str) -> None:
    async def slow(value: object) -> object:
        await asyncio.sleep(0.05)
        return value

    async with served(server.url, queue_name, slow) as (queue, _):
        await queue.configure(limit=1)
        await asyncio.gather(*(queue.call("r", timeout=20) for _ in range(25)))
        patient = [asyncio.create_task(queue.call("r", timeout=20)) for _ in range(20)]
        await until(lambda: len(queue._engine._lines["pull"].inbox) == 20)
        with pytest.raises(TooLate) as caught:
            await queue.call("r", timeout=0.1)
        assert caught.value.retry_after
        await asyncio.gather(*patient)
