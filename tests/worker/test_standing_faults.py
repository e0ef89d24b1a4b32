"""Claims that stand, where something ends or is away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyclient import Queue
from tests.servers import Server
from tests.worker.rig import (
    arriving,
    command,
    commands,
    echo,
    eventually,
    gone,
    line,
    lines,
    noting,
    serving,
)
from tests.worker.standing_rig import calls, channel_of, is_known_to_stand, standing, stands
from worker_app import Worker, hints
from worker_app.standing import given_of


@pytest.mark.parametrize("fault", ["subscription", "all", "scripts", "flushall", "restart"])
async def test_after_a_fault_it_stands_again(
    server: Server, queue_name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "BLOCK_S", 1)
    client = server.client()
    worker = echo(server, queue_name)
    async with line(server, queue_name, worker) as queue:
        await queue.call("echo")
        for number in range(2):
            await stands(worker)
            if fault == "subscription":
                client.client_kill_filter(_type="pubsub")
            elif fault == "all":
                client.client_kill_filter(skipme=True, _type="normal")
                client.client_kill_filter(_type="pubsub")
            elif fault == "scripts":
                client.script_flush()
            elif fault == "flushall":
                client.flushall()
            else:
                server.restart()
                client = server.client()
            await served(queue, number)
            await stands(worker)
            server.client().config_resetstat()
            await until_given(server, queue)


async def served(queue: Queue, value: object) -> None:
    """Call until it works: what was in flight at a fault may fail."""
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(Exception):
            assert await queue.call("echo", value, timeout=5) == value
            return
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def until_given(server: Server, queue: Queue) -> None:
    """Call until a task goes over the channel."""
    before, end = calls(server)["spublish"], time.monotonic() + 20
    while calls(server)["spublish"] == before:
        assert time.monotonic() < end
        await queue.call("echo", timeout=5)


async def test_a_long_idle_worker_stands_again_by_its_poll(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "BLOCK_S", 1)
    worker = echo(server, queue_name)
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        async with commands(server, queue_name) as scripts:  # Redis lets it stand no longer
            assert worker.session is not None
            await scripts.claim(worker.session._caller.id, 0, 0, 9)
        asked = calls(server)["evalsha"]
        await eventually(lambda: calls(server)["evalsha"] > asked, timeout=10)
        server.client().config_resetstat()
        await queue.call("echo")
        assert calls(server)["spublish"] == 1


@pytest.mark.full
async def test_a_worker_that_is_idle_for_longer_than_a_claim_stands(
    server: Server, queue_name: str
) -> None:
    async with line(server, queue_name, echo(server, queue_name)) as queue:
        await asyncio.sleep(23)
        server.client().config_resetstat()
        await queue.call("echo")
        assert calls(server)["spublish"] == 1


@given(st.one_of(st.binary(max_size=200), st.text("0123456789 \nAb-", max_size=200)))
def test_a_message_is_read_or_refused(message: bytes | str) -> None:
    with contextlib.suppress(ValueError):
        given_of(message if isinstance(message, bytes) else message.encode())


async def test_messages_that_make_no_sense_change_nothing(
    server: Server, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = echo(server, queue_name)
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        assert worker.session is not None
        client, channel = server.client(protocol=2), channel_of(worker, queue_name)
        task = "1\n" + "A" * 22 + " %s 3 echo - %d\n\nbody"
        for message in ("", "\n\n", "1\nx\n\n", task % ("1", 9), task % ("9" * 400, 4)):
            assert client.execute_command("SPUBLISH", channel, message) == 1
        assert worker.session.loop.standing._subscription is not None
        await worker.session.loop.standing._subscription.settle()
        assert await queue.call("echo", 5, timeout=10) == 5
    assert caplog.text.count("can't be read") == 5


async def test_what_is_given_while_it_stops_goes_back(server: Server, queue_name: str) -> None:
    """Tasks arrive all the time; each worker is stopped as it stands, and the next begins."""
    async with Queue.from_url(server.url, name=queue_name) as queue:
        async with arriving(queue, "echo", itertools.count(), every=0.001) as made:
            for _ in range(15):
                async with serving(echo(server, queue_name, concurrency=8)):
                    await asyncio.sleep(random.uniform(0.03, 0.12))
        async with serving(echo(server, queue_name)):
            began = time.monotonic()
            assert await asyncio.gather(*made) == list(range(len(made)))
            assert time.monotonic() - began < 10  # a lease is 15 s
        gauge = await queue.gauge()
        assert (gauge["lost"], gauge["retried"], gauge["done"]) == (0, 0, len(made))


async def test_nothing_stands_when_it_has_stopped(server: Server, queue_name: str) -> None:
    worker = echo(server, queue_name)
    async with serving(worker):
        await stands(worker)
        assert worker.session is not None
        assert is_known_to_stand(server, queue_name, worker.session._caller.id)
        worker.session.loop.standing.slots = 0  # a wrong belief
        name = worker.session._caller.id
    assert not is_known_to_stand(server, queue_name, name)


async def test_a_killed_worker_is_passed_over(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    other = Worker(queue_name, url=server.url)
    other.route("sleep")(_other)
    async with Queue.from_url(server.url, name=queue_name) as queue:
        for _ in range(2):
            with command(server, queue_name, tmp_path) as killed:
                await eventually(lambda: standing(server, queue_name))
                async with serving(other):
                    await stands(other)
                    children = killed.children()
                    for pid in (killed.process.pid, *children):  # its supervisor makes no new one
                        os.kill(pid, signal.SIGKILL)
                    await eventually(lambda pids=children: all(map(gone, pids)))  # type: ignore[misc]
                    began = time.monotonic()
                    assert await queue.call("sleep", timeout=10) == "other"
                    assert time.monotonic() - began < 2
        gauge = await queue.gauge()
        assert (gauge["leased"], gauge["done"], gauge["retried"]) == (2, 2, 0)
    assert lines(tmp_path) == []


async def _other(payload: Any) -> str:
    return "other"


async def test_a_worker_that_is_stopped_as_tasks_arrive_loses_none(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    other = Worker(queue_name, url=server.url, concurrency=2)
    other.route("sleep")(_other)
    async with contextlib.AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue.from_url(server.url, name=queue_name))
        with command(server, queue_name, tmp_path, T_CONCURRENCY="4") as stopped:
            await eventually(lambda: standing(server, queue_name))
            async with arriving(queue, "sleep", itertools.repeat(0.005), every=0.004) as made:
                await eventually(lambda: len(lines(tmp_path)) > 50)
                await stack.enter_async_context(serving(other))
                code = await asyncio.to_thread(stopped.end)
                assert code == 0, stopped.output
            began = time.monotonic()
            await asyncio.gather(*made)
            assert time.monotonic() - began < 10  # a lease is 15 s
        gauge = await queue.gauge()
        assert (gauge["lost"], gauge["retried"], gauge["done"]) == (0, 0, len(made))
    assert "goes on standing" not in stopped.output


async def test_what_was_given_to_a_paused_worker_comes_back_and_runs_once(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    other = Worker(queue_name, url=server.url)
    other.route("sleep")(_other)
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.5)
        with command(server, queue_name, tmp_path) as paused:
            await eventually(lambda: standing(server, queue_name))
            async with serving(other):
                await stands(other)
                (pid,) = paused.children()
                os.kill(pid, signal.SIGSTOP)
                try:
                    assert await queue.call("sleep", timeout=20) == "other"
                    await asyncio.sleep(1.2)
                finally:
                    os.kill(pid, signal.SIGCONT)
                gauge = await queue.gauge()
                assert (gauge["leased"], gauge["done"], gauge["retried"]) == (2, 1, 1)
                await asyncio.sleep(0.5)
            assert await asyncio.to_thread(paused.end) == 0
    assert lines(tmp_path) == []  # what it found when it went on was another's


async def test_what_lay_in_the_socket_of_a_process_that_stood_still_is_handed_back(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)
    attempts = noting(worker, "work")
    async with line(server, queue_name, worker) as queue:
        await stands(worker)
        assert worker.session is not None
        client, channel = server.client(protocol=2), channel_of(worker, queue_name)
        message = f"1\n{'A' * 22} 30000 3 work - 0\n\n"
        time.sleep(1.2)  # noqa: ASYNC251 - it stands still
        assert client.execute_command("SPUBLISH", channel, message) == 1
        standing = worker.session.loop.standing
        await eventually(lambda: standing._given == 1)
        await eventually(lambda: not worker.session.desk.back)  # type: ignore[union-attr]
        assert attempts == []
        assert await queue.call("work", 5, timeout=10) == 5
    assert attempts == [1]
