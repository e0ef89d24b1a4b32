"""Redis away, full, read-only, loading, restarted, flushed; replies lost on the way.

Each is a clear error at once or within the deadline, or nothing at all is noticed.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from pyclient import Queue
from pyclient.errors import PeakError, StateLost, TaskError, Unavailable
from tests.faultproxy import Action, FaultProxy
from tests.pyclient.client_rig import TinyWorker, served, until, waiting
from tests.pyclient.test_slot import free, gauge
from tests.servers import Server, valkey

pytestmark = pytest.mark.faults
MARGIN_S = 0.25


async def timed(call: object, seconds: float) -> BaseException:
    """The error of a call, which has to come within its time."""
    began = time.monotonic()
    (end,) = await asyncio.gather(call, return_exceptions=True)  # type: ignore[call-overload]
    assert time.monotonic() - began < seconds + MARGIN_S
    assert isinstance(end, BaseException), end
    return end


@pytest.mark.parametrize("timeout", [0.1, 1.2])
async def test_redis_that_was_never_there(timeout: float) -> None:
    queue = Queue.from_url("redis://127.0.0.1:1")
    for call in (
        queue.call("r", timeout=timeout),
        queue.call("r", b"x" * 9999, timeout=timeout),
        queue.submit("r", timeout=timeout),
        queue.slot(timeout=timeout).__aenter__(),
    ):
        assert isinstance(await timed(call, timeout), Unavailable)


@pytest.mark.parametrize("timeout", [0.3, 1.2])
async def test_redis_that_went_away(server: Server, queue_name: str, timeout: float) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.attach("x" * 22)
        async with queue.slot():
            pass
        server.stop()
        ends = await asyncio.gather(
            timed(queue.call("r", timeout=timeout), timeout),
            timed(queue.call("r", b"x" * 9999, timeout=timeout), timeout),
            timed(queue.slot(timeout=timeout).__aenter__(), timeout),
        )
        assert all(isinstance(end, Unavailable) for end in ends), ends
        server.start()
        async with TinyWorker(server.url, queue_name):
            assert await queue.call("r", 1, timeout=10) == 1


async def test_redis_that_does_not_answer(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.attach("x" * 22)
        with server.paused():
            ends = await asyncio.gather(
                *(timed(queue.call("r", timeout=0.5), 0.5) for _ in range(100))
            )
            assert all(isinstance(end, Unavailable) for end in ends)
            late = Queue.from_url(server.url, name=queue_name)
            assert isinstance(await timed(late.call("r", timeout=0.5), 0.5), Unavailable)
            await late.aclose()
        await waiting(queue, 0)
        async with TinyWorker(server.url, queue_name):
            assert await queue.call("r", 1, timeout=10) == 1


async def test_a_full_redis_refuses_at_once_and_goes_on_draining(queue_name: str) -> None:
    with valkey(maxmemory_policy="noeviction") as full:
        async with Queue.from_url(full.url, name=queue_name) as queue:
            ticket = await queue.submit("r", 7)
            client = full.client()
            client.config_set("maxmemory", "1mb")
            for call in (
                queue.call("r", timeout=5),
                queue.submit("r"),
                queue.call("r", b"x" * 9999),
            ):
                error = await timed(call, 0.5)
                assert isinstance(error, Unavailable)
                assert error.code == "OOM"
                assert not error.unknown
            async with TinyWorker(full.url, queue_name):
                assert await ticket.result(5) == 7
            client.config_set("maxmemory", "0")
            async with TinyWorker(full.url, queue_name):
                assert await queue.call("r", 8) == 8


async def test_a_full_redis_keeps_slots_going(queue_name: str) -> None:
    with valkey(maxmemory_policy="noeviction") as full:
        async with Queue.from_url(full.url, name=queue_name) as queue:
            await queue.configure(slots=1)
            async with queue.slot():
                behind = asyncio.create_task(queue.slot().__aenter__())
                await until(lambda: len(queue._engine._lines["hold"].inbox) == 1)
                full.client().config_set("maxmemory", "1mb")
            lease = await asyncio.wait_for(behind, 5)
            await queue._engine._lines["hold"].end(lease.id, lease.fence)


async def test_a_replica_refuses(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.attach("x" * 22)
        client = server.client()
        client.config_set("replica-read-only", "yes")
        client.replicaof("127.0.0.1", 1)
        error = await timed(queue.call("r", timeout=2), 2)
        assert isinstance(error, Unavailable)
        client.replicaof("no", "one")
        async with TinyWorker(server.url, queue_name):
            assert await queue.call("r", 1, timeout=10) == 1


async def test_a_disk_that_is_full_refuses(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.attach("x" * 22)
        client = server.client()
        client.config_set("min-replicas-to-write", 1)  # refuses writes in the same way
        error = await timed(queue.call("r", timeout=2), 2)
        assert isinstance(error, Unavailable)
        assert error.code == "NOREPLICAS"
        client.config_set("min-replicas-to-write", 0)


async def test_a_restart_with_its_data_is_not_noticed(queue_name: str) -> None:
    with valkey(appendonly="yes", appendfsync="always") as kept:
        async with Queue.from_url(kept.url, name=queue_name) as queue:
            calls = [asyncio.create_task(queue.call("r", n, timeout=20)) for n in range(100)]
            ticket = await queue.submit("r", "kept")
            await waiting(queue, 101)
            kept.kill()
            await asyncio.sleep(0.2)
            kept.start()
            async with TinyWorker(kept.url, queue_name):
                assert await asyncio.gather(*calls) == list(range(100))
                assert await ticket.result(5) == "kept"


@pytest.mark.parametrize("how", ["flushed", "restarted empty"])
async def test_lost_state_is_loud_within_two_seconds(
    server: Server, queue_name: str, how: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        calls = [asyncio.create_task(queue.call("r", n, timeout=30)) for n in range(100)]
        await waiting(queue, 100)
        ticket = await queue.submit("r")
        began = time.monotonic()
        if how == "flushed":
            server.client().flushall()
        else:
            server.kill()
            server.start()
        for call in (*calls, asyncio.ensure_future(ticket.result())):
            with pytest.raises(StateLost) as caught:
                await call
            assert len(caught.value.task_id) == 22
        assert time.monotonic() - began < 2.5
        async with TinyWorker(server.url, queue_name):
            assert await queue.call("r", 1) == 1


async def test_flushed_while_calls_come_and_go(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name) as (queue, _):
        client, stop = server.client(), asyncio.Event()

        async def call() -> int:
            done = 0
            while not stop.is_set():
                try:
                    assert await queue.call("r", done, timeout=4) == done
                    done += 1
                except (StateLost, TaskError):
                    pass
            return done

        callers = [asyncio.create_task(call()) for _ in range(16)]
        for _ in range(4):
            await asyncio.sleep(0.4)
            client.flushall()
            client.script_flush()
        stop.set()
        assert min(await asyncio.wait_for(asyncio.gather(*callers), 10)) > 5
    client.flushall()


async def test_scripts_that_are_flushed_all_the_time_hurt_nobody(
    server: Server, queue_name: str
) -> None:
    async with served(server.url, queue_name) as (queue, _):
        client = server.client()
        for n in range(60):
            client.script_flush()
            call = asyncio.create_task(queue.call("r", n))
            await asyncio.sleep(0)
            client.script_flush()
            async with queue.slot():
                client.script_flush()
            assert await call == n


@pytest.mark.parametrize(
    "action", ["cut-before", "cut-after", pytest.param("mute", marks=pytest.mark.full)]
)
@pytest.mark.parametrize("verb", ["admit", "cancel"])
async def test_a_lost_reply_doubles_nothing(
    server: Server, queue_name: str, action: Action, verb: str
) -> None:
    async with FaultProxy(server.url) as proxy, Queue.from_url(proxy.url, name=queue_name) as queue:
        await queue.configure(lease=2)
        commands = await queue._engine.commands("pull")
        sha = commands._scripts[verb].sha.encode()
        await queue.attach("x" * 22)
        if verb == "admit":
            proxy.when(sha, action)
            async with TinyWorker(server.url, queue_name) as worker:
                calls = [queue.call("r", n, timeout=20) for n in range(10)]
                assert await asyncio.gather(*calls) == list(range(10))
                assert len(worker.seen) == 10
                assert len({task.id for task in worker.seen}) == 10
        else:
            ticket = await queue.submit("r")
            proxy.when(sha, action)
            await ticket.cancel()
            with pytest.raises(PeakError, match="cancelled"):
                await ticket.result(10)
        now = await queue.gauge()
        assert now["waiting"] == now["running"] == 0


@pytest.mark.parametrize("action", ["cut-before", "cut-after"])
async def test_turns_survive_lost_replies(server: Server, queue_name: str, action: Action) -> None:
    async with FaultProxy(server.url) as proxy, Queue.from_url(proxy.url, name=queue_name) as queue:
        await queue.configure(slots=2)
        commands = await queue._engine.commands("hold")
        inside, most = 0, 0
        for verb in ("admit", "publish"):
            proxy.when(commands._scripts[verb].sha.encode(), action, times=4)

        async def work() -> None:
            nonlocal inside, most
            async with queue.slot(timeout=30):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

        await asyncio.wait_for(asyncio.gather(*(work() for _ in range(50))), 20)
        assert most <= 2
        await free(queue)
        assert (await gauge(queue))["lost"] == 0


async def test_connections_cut_all_the_time_lose_nothing(server: Server, queue_name: str) -> None:
    async with FaultProxy(server.url) as proxy, served(proxy.url, queue_name) as (queue, worker):

        async def call(n: int) -> None:
            while True:
                try:
                    assert await queue.call("r", n, timeout=30) == n
                    return
                except Unavailable as error:
                    if error.unknown:  # else it was not sent for a second, and said so
                        raise

        calls = [asyncio.create_task(call(n)) for n in range(600)]
        for _ in range(6):
            await asyncio.sleep(0.15)
            proxy.cut_all()
        await asyncio.wait_for(asyncio.gather(*calls), 25)
        assert len({task.id for task in worker.seen}) == 600
