"""kill -9 of a client: nothing of what it waited for is run later than a lease and a second."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pyclient import Queue
from tests.pyclient.client_rig import TinyWorker, until, waiting
from tests.pyclient.test_slot import gauge
from tests.servers import Server

pytestmark = pytest.mark.faults
LEASE_S = 1.0
CLIENT = """
import asyncio, sys
from pyclient import Queue

async def main():
    async with Queue.from_url(sys.argv[1], name=sys.argv[2]) as queue:
        async def hold():
            async with queue.slot("db", timeout=600):
                await asyncio.sleep(600)
        if sys.argv[3] == "slots":
            await asyncio.gather(*(hold() for _ in range(50)))
        else:
            await asyncio.gather(*(queue.call("r", "dead", timeout=600) for _ in range(50)))

asyncio.run(main())
"""


@asynccontextmanager
async def client(url: str, name: str, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with 50 waiting calls or slots."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, url, name, what)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def kill(process: asyncio.subprocess.Process) -> float:
    """kill -9; returns when."""
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    return time.monotonic()


async def test_with_another_client_up_its_calls_are_out_of_the_line_in_time(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=LEASE_S)
        mine = asyncio.create_task(queue.call("r", "alive", timeout=30))
        async with client(server.url, queue_name, "calls") as process:
            await waiting(queue, 51)
            died = await kill(process)
        await waiting(queue, 1)
        assert time.monotonic() - died < LEASE_S + 1
        async with TinyWorker(server.url, queue_name) as worker:
            assert await mine == "alive"
            assert len(worker.seen) == 1
        assert (await queue.gauge())["cancelled"] == 50


async def test_with_only_a_worker_up_none_is_leased_later(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=LEASE_S)
        await queue.pause()  # so that the worker leaves them where they are
    async with TinyWorker(server.url, queue_name) as worker:
        async with client(server.url, queue_name, "calls") as process:

            async def all_wait() -> bool:
                return bool((await worker.commands.gauge())["waiting"] == 50)

            await until(all_wait)
            died = await kill(process)
        await asyncio.sleep(LEASE_S + 1 - (time.monotonic() - died))
        await worker.commands.configure({"state": "open"})
        await asyncio.sleep(0.5)
        assert worker.seen == []
        assert (await worker.commands.gauge())["cancelled"] == 50


async def test_slots_and_turns_of_the_dead_go_to_the_living(
    server: Server, queue_name: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=LEASE_S, slots=1)
        async with client(server.url, queue_name, "slots") as process:

            async def all_there() -> bool:
                now = await gauge(queue)
                return bool((now["running"], now["waiting"]) == (1, 49))

            await until(all_there)
            behind = asyncio.create_task(queue.slot(timeout=30).__aenter__())
            died = await kill(process)
        lease = await behind
        assert time.monotonic() - died < LEASE_S + 1
        await queue._engine._lines["hold"].end(lease.id, lease.fence)


async def test_a_stopped_client_that_goes_on_hears_of_its_end(
    server: Server, queue_name: str
) -> None:
    program = CLIENT.replace(
        "asyncio.run(main())",
        "try:\n    asyncio.run(main())\nexcept Exception as error:\n"
        "    print(type(error).__name__, error, flush=True)",
    )
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=LEASE_S)
        keep = asyncio.create_task(queue.call("r", "alive", timeout=30))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            server.url,
            queue_name,
            "calls",
            stdout=asyncio.subprocess.PIPE,
        )
        await waiting(queue, 51)
        os.kill(process.pid, signal.SIGSTOP)
        await waiting(queue, 1)
        os.kill(process.pid, signal.SIGCONT)
        out, _ = await asyncio.wait_for(process.communicate(), 10)
        assert out.decode().startswith("TaskCancelled the owner is gone")
        keep.cancel()
        await waiting(queue, 0)
