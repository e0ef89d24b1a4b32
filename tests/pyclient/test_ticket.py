"""Submitted tasks: they outlive who submitted them, and any process can ask for them."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import (
    ConfigError,
    QueueFull,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    Unavailable,
)
from tests.pyclient.client_rig import TinyWorker, served, until, waiting
from tests.servers import Server

SUBMITTER = """
import asyncio, sys
from pyclient import Queue

async def main():
    async with Queue.from_url(sys.argv[1], name=sys.argv[2]) as queue:
        ticket = await queue.submit("r", {"n": 7})
        print(ticket.id)

asyncio.run(main())
"""
UNKNOWN = "x" * 22


async def test_a_ticket_has_state_position_and_result(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        first, second = await queue.submit("r", 1), await queue.submit("r", 2)
        assert repr(first) == f"Ticket({first.id!r})"
        assert (await first.state(), await first.position()) == ("waiting", 0)
        assert await second.position() == 1
        async with TinyWorker(server.url, queue_name):
            assert await second.result() == 2
            assert await first.result(5) == 1
            assert await first.result(5) == 1, "as often as one likes"
        assert (await first.state(), await first.position()) == ("done", None)
        assert await first.cancel() is False


async def test_a_task_outlives_its_process_and_another_gets_the_result(
    server: Server, queue_name: str
) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUBMITTER, server.url, queue_name, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await other.communicate()
    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.attach(out.decode().strip())
        assert await ticket.state() == "waiting"
        result = asyncio.create_task(ticket.result(10))
        await until(lambda: server.client().keys("*watch:*"))
        async with TinyWorker(server.url, queue_name):
            assert await result == {"n": 7}
            late = await queue.attach(ticket.id)
            assert await late.result(5) == {"n": 7}


async def test_waiting_can_end_before_the_task_does(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        for stranger in (False, True):
            ticket = await queue.submit("r", 1)
            if stranger:
                ticket = await queue.attach(ticket.id)
            with pytest.raises(TaskExpired, match=r"no result within 0\.05 s") as caught:
                await ticket.result(0.05)
            assert caught.value.task_id == ticket.id
            asked = asyncio.create_task(ticket.result())
            await asyncio.sleep(0.01)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            async with TinyWorker(server.url, queue_name):
                await ticket.result(5)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "5", True], ids=repr)
async def test_a_wrong_time_is_an_error(server: Server, queue_name: str, timeout: Any) -> None:
    async with served(server.url, queue_name) as (queue, _):
        ticket = await queue.submit("r", 1)
        with pytest.raises(ConfigError, match="timeout"):
            await ticket.result(timeout)
        assert await ticket.result(5) == 1


async def test_a_cancelled_task_is_told_to_all_who_wait(server: Server, queue_name: str) -> None:
    async with (
        Queue.from_url(server.url, name=queue_name) as queue,
        Queue.from_url(server.url, name=queue_name) as other,
    ):
        ticket = await queue.submit("r", 1)
        twin = await other.attach(ticket.id)
        asked = asyncio.create_task(twin.result(10))
        await until(lambda: server.client().keys("*watch:*"))
        assert await ticket.cancel() is True
        for result in (asked, ticket.result(5), (await queue.attach(ticket.id)).result(5)):
            with pytest.raises(TaskCancelled):
                await result


async def test_running_tasks_are_told_to_stop(server: Server, queue_name: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(value: object) -> object:
        begun.set()
        await go_on.wait()
        return value

    async with served(server.url, queue_name, handle) as (queue, worker):
        ticket = await queue.submit("r", 1)
        await begun.wait()
        assert await ticket.state() == "running"
        assert await ticket.position() is None
        assert await ticket.cancel() is True
        assert server.client().llen(worker.keys.told(worker.caller.id)) == 1
        go_on.set()
        with pytest.raises(TaskCancelled):
            await ticket.result(5)


async def test_errors_of_the_handler_are_kept(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name, lambda _: 1 / 0) as (queue, _):
        ticket = await queue.submit("r", 1, keep=5)
        with pytest.raises(TaskFailed, match="ZeroDivisionError"):
            await ticket.result(5)
        with pytest.raises(TaskFailed, match="ZeroDivisionError"):
            await (await queue.attach(ticket.id)).result(5)


async def test_a_task_that_nobody_took_in_time_expires(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.4)
        ticket = await queue.submit("r", 1, timeout=0.2)
        with pytest.raises(TaskExpired, match="not served before its deadline"):
            await ticket.result(5)


async def test_an_unknown_id_is_told(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.attach(UNKNOWN)
        assert (await ticket.state(), await ticket.position()) == ("gone", None)
        assert await ticket.cancel() is False
        for _ in range(2):
            with pytest.raises(TaskExpired, match="no task has this id"):
                await ticket.result(5)


@pytest.mark.parametrize("task_id", ["", "x" * 21, "x" * 21 + "é", None, 5, "x" * 10_000_000])
async def test_a_wrong_id_is_an_error(server: Server, queue_name: str, task_id: Any) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        with pytest.raises(ConfigError, match="task id"):
            await queue.attach(task_id)
        with pytest.raises(ConfigError, match="task id"):
            await queue.revive(task_id)


async def test_thousands_are_submitted_in_order(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name) as (queue, worker):
        assert await queue.submit_many("r", []) == []
        big = b"x" * 9999
        assert await (await queue.submit("r", big)).result(5) == big
        worker.seen.clear()
        tickets = await queue.submit_many("r", (n for n in range(3000)), keep=10)
        assert await asyncio.gather(*(one.result(20) for one in tickets)) == list(range(3000))
        assert [one.id for one in worker.seen] == [one.id for one in tickets]


@pytest.mark.leaves_keys
async def test_a_refusal_among_many_is_raised_with_how_many_were_admitted(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(capacity=10)
        with pytest.raises(QueueFull) as caught:
            await queue.submit_many("r", range(15))
        assert caught.value.__notes__ == ["of 15 payloads 10 were admitted"]
        with pytest.raises(QueueFull) as one:
            await queue.submit("r")
        assert not hasattr(one.value, "__notes__")
    async with Queue.from_url(server.url, name=queue_name) as queue:
        assert (await queue.gauge())["waiting"] == 10, "they outlive who submitted them"


async def test_a_cancelled_submission_stays_in_no_line(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.attach(UNKNOWN)  # which opens the line
        for turns in range(8):
            asked = asyncio.create_task(queue.submit_many("r", range(100)))
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        await waiting(queue, 0)
        assert len(queue._engine._lines["pull"].inbox) == 0


async def test_after_aclose_a_ticket_says_so_and_another_queue_has_the_result(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.submit("r", 5)
        asked = asyncio.create_task(ticket.result())
        await asyncio.sleep(0.01)
    for use in (asked, ticket.result(1), ticket.cancel(), ticket.state()):
        with pytest.raises(Unavailable):
            await use
    async with served(server.url, queue_name) as (queue, _):
        assert await (await queue.attach(ticket.id)).result(5) == 5


async def test_a_dead_letter_comes_back_as_a_new_task(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        ticket = await queue.submit("r", 5)
        async with TinyWorker(server.url, queue_name, limit=1) as worker:
            await worker.__aexit__(None, None, None)
            await worker.conn.open()
            for _ in range(3):
                (task,) = (await worker.commands.claim("w", 0, 1, 9)).tasks
                told = await worker.commands.retry("w", 0, [(task.id, task.fence, 0, True, "no")])
            assert told.words == ["DEAD"]
        with pytest.raises(ConfigError, match="no dead letter"):
            await queue.revive(UNKNOWN)
        revived = await queue.revive(ticket.id)
        assert revived.id != ticket.id
        async with TinyWorker(server.url, queue_name):
            assert await revived.result(5) == 5
