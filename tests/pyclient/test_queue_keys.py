"""Idempotency keys: one task however often it is called for, in one process and in several."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from pyclient import Queue
from pyclient.errors import BadPayload, TaskExpired, TaskFailed
from tests.pyclient.client_rig import TinyWorker, served, until, waiting
from tests.servers import Server

CALLER = """
import asyncio, json, sys
from pyclient import Queue

async def main():
    async with Queue.from_url(sys.argv[1], name=sys.argv[2]) as queue:
        print("up", flush=True)
        print(json.dumps(await queue.call("r", 5, key="k", timeout=20)))

asyncio.run(main())
"""


async def test_the_second_call_gets_the_first_ones_result(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name) as (queue, worker):
        for _ in range(3):
            assert await queue.call("r", 5, key="k") == 5
        async with Queue.from_url(server.url, name=queue_name) as other:
            assert await other.call("r", 5, key="k") == 5
        assert len(worker.seen) == 1
        assert await queue.call("r", 5, key="k", tenant="someone-else") == 5
        assert await queue.call("r", 6, key="k2") == 6
        assert len(worker.seen) == 3


async def test_concurrent_calls_of_one_process_share_one_task(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        early = [asyncio.create_task(queue.call("r", 5, key="k")) for _ in range(5)]
        await waiting(queue, 1)
        late = [asyncio.create_task(queue.call("r", 5, key="k")) for _ in range(5)]
        await asyncio.sleep(0.05)
        early[0].cancel()
        async with TinyWorker(server.url, queue_name) as worker:
            ends = await asyncio.gather(*early, *late, return_exceptions=True)
            assert ends[1:] == [5] * 9, "that one left takes nothing from the others"
            assert isinstance(ends[0], asyncio.CancelledError)
            assert len(worker.seen) == 1
        assert len(queue._engine._lines["pull"].inbox) == 0


async def test_concurrent_calls_of_two_processes_share_one_task(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        ours = [asyncio.create_task(queue.call("r", 5, key="k", timeout=20)) for _ in range(2)]
        await waiting(queue, 1)
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CALLER, server.url, queue_name, stdout=asyncio.subprocess.PIPE
        )
        assert other.stdout is not None
        assert await other.stdout.readline() == b"up\n"
        await until(lambda: server.client().keys("*watch:*"), what="the other one watches")
        async with TinyWorker(server.url, queue_name) as worker:
            assert await asyncio.gather(*ours) == [5, 5]
            assert json.loads(await other.stdout.readline()) == 5
            assert await other.wait() == 0
            assert len(worker.seen) == 1


async def test_more_than_64_others_can_wait_for_one_task(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyclient.watching._FIRST_S", 0.2)
    queues = [Queue.from_url(server.url, name=queue_name) for _ in range(67)]
    try:
        calls = [asyncio.create_task(queues[0].call("r", 5, key="k"))]
        await waiting(queues[0], 1)
        calls += [asyncio.create_task(one.call("r", 5, key="k")) for one in queues[1:]]
        (key,) = await until(lambda: server.client().keys("*watch:*"))
        await until(lambda: server.client().llen(key) == 64)
        async with TinyWorker(server.url, queue_name):
            assert await asyncio.wait_for(asyncio.gather(*calls), 10) == [5] * 67
    finally:
        await asyncio.gather(*(one.aclose() for one in queues))


async def test_another_payload_under_the_same_key_is_refused(
    server: Server, queue_name: str
) -> None:
    async with served(server.url, queue_name) as (queue, _):
        assert await queue.call("r", 5, key="k") == 5
        with pytest.raises(BadPayload, match="another payload"):
            await queue.call("r", 6, key="k")
        with pytest.raises(BadPayload, match="another payload"):
            await queue.submit("r", 6, key="k")


async def test_a_failure_is_the_result_of_the_second_call_too(
    server: Server, queue_name: str
) -> None:
    async with served(server.url, queue_name, lambda value: 1 / value) as (queue, worker):
        for _ in range(2):
            with pytest.raises(TaskFailed, match="ZeroDivisionError"):
                await queue.call("r", 0, key="k")
        assert len(worker.seen) == 1


async def test_large_bodies_under_a_key_are_kept_for_the_second_call(
    server: Server, queue_name: str
) -> None:
    payload = b"x" * 50_000
    async with served(server.url, queue_name) as (queue, _):
        for _ in range(2):
            assert await queue.call("r", payload, key="k") == payload
        client = server.client()
        await until(lambda: len(client.keys("*body:*")) == 2, what="one request, one answer")


async def test_a_key_whose_result_is_gone_is_told(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name) as (queue, _):
        assert await queue.call("r", 5, key="k") == 5
        client = server.client()
        client.delete(*client.keys("*result:*"))
        with pytest.raises(TaskExpired, match="kept no longer"):
            await queue.call("r", 5, key="k")


async def test_a_submission_with_a_known_key_is_the_same_task(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        first = await queue.submit("r", 5, key="k\ud800")
        again = await queue.submit("r", 5, key="k\ud800")
        assert again.id == first.id
        async with TinyWorker(server.url, queue_name):
            assert [await first.result(5), await again.result(5)] == [5, 5]


async def test_a_key_never_travels(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name) as (queue, _):
        await queue.call("r", 5, key="hunter2")
        for key in server.client().keys("*"):
            assert b"hunter2" not in key
