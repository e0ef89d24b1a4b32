"""The life of a queue: opened, closed, forked, in another loop, embedded, abandoned."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading

import pytest

from pyclient import Queue
from pyclient.errors import ConfigError, Unavailable
from pyclient.line import Line
from tests.pyclient.client_rig import TinyWorker, served, until, waiting
from tests.servers import Server
from tests.servers import until as until_sync

INSIDE = """
import asyncio, os, sys, time
from pyclient import Queue
from pyclient.errors import PeakError
"""


# What Python says of sockets whose loop ended before they were closed.
ABANDONED = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of its own; its warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", INSIDE + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def test_open_and_close_as_often_as_one_likes(server: Server, queue_name: str) -> None:
    queue = Queue.from_url(server.url, name=queue_name)
    await queue.aclose()
    for _ in range(3):
        await queue.open()
        await queue.open()
        assert queue.is_open
        async with queue.slot():
            pass
        await queue.aclose()
        await queue.aclose()
        assert not queue.is_open
    await until(lambda: not [t for t in threading.enumerate() if t.name == "peak-keeper"])


async def test_connections_are_few_and_gone_at_the_end(server: Server, queue_name: str) -> None:
    client = server.client()
    before = len(client.client_list())
    async with served(server.url, queue_name) as (queue, _):
        await asyncio.gather(*(queue.call("r", b"x" * 5000, timeout=10) for _ in range(300)))
        async with queue.slot():
            mine = [one for one in client.client_list() if one["name"].startswith("peak")]
            assert len(mine) <= 5, "calls, bodies, two inboxes, the keeper"
    await until(lambda: len(client.client_list()) == before)


async def test_used_after_its_end_it_says_so(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        waits = [asyncio.create_task(queue.call("r")) for _ in range(3)]
        await waiting(queue, 3)
        client = server.client()
    for wait in waits:
        with pytest.raises(Unavailable, match="was closed"):
            await wait
    for use in (queue.call("r"), queue.submit("r"), queue.gauge(), queue.attach("x" * 22)):
        with pytest.raises(Unavailable, match="was closed"):
            await use
    with pytest.raises(Unavailable, match="was closed"):
        await queue.slot().__aenter__()
    assert client.keys("*tasks*") == [], "they were taken out of the line"


async def test_closed_while_it_opens_it_stays_closed(server: Server, queue_name: str) -> None:
    for turns in range(12):
        queue = Queue.from_url(server.url, name=queue_name)
        calls = [asyncio.create_task(queue.call("r", timeout=5)) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await queue.aclose()
        for call in calls:
            with pytest.raises(Unavailable):
                await call
        assert not queue.is_open
    await until(lambda: not server.client().keys("*tasks*"))


async def test_closed_while_a_line_opens_leaves_no_line(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue.from_url(server.url, name=queue_name)
    begin = Line.open

    async def begin_and_close(line: Line) -> None:
        await begin(line)
        await queue.aclose()

    monkeypatch.setattr(Line, "open", begin_and_close)
    with pytest.raises(Unavailable, match="was closed"):
        await queue.call("r")
    assert not queue.is_open


async def test_cancelled_while_it_opens_it_can_be_opened(server: Server, queue_name: str) -> None:
    async with TinyWorker(server.url, queue_name):
        queue = Queue.from_url(server.url, name=queue_name)
        for turns in range(8):
            call = asyncio.create_task(queue.call("r"))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert await queue.call("r", 1) == 1
        await queue.aclose()


async def test_another_loop_is_refused_with_what_to_do(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name) as (queue, _):
        await queue.call("r")
        ticket = await queue.submit("r", 1)

        async def elsewhere() -> None:
            for use in (queue.call("r"), queue.gauge(), queue.slot().__aenter__(), queue.aclose()):
                with pytest.raises(ConfigError, match="another event loop"):
                    await use
            with pytest.raises(ConfigError, match="another event loop"):
                await ticket.cancel()

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert await ticket.result(5) == 1


@ABANDONED
def test_a_loop_that_ended_without_aclose_keeps_nothing_alive(
    server: Server, queue_name: str
) -> None:
    queue = Queue.from_url(server.url, name=queue_name)

    async def first() -> None:
        await queue.configure(lease=0.3)
        call = asyncio.create_task(queue.call("r"))
        await waiting(queue, 1)
        call.cancel()
        await queue.slot().enter_detached()

    async def second() -> None:
        with pytest.raises(ConfigError, match="another event loop"):
            await queue.gauge()
        await queue.aclose()
        assert not queue.is_open

    asyncio.run(first())
    client = server.client()
    # An owner counts as gone from a minute before the end of its inbox.
    until_sync(
        lambda: all(client.pttl(k) <= 60_000 for k in client.keys("*inbox*")), what="silence"
    )
    until_sync(lambda: not [t for t in threading.enumerate() if t.name == "peak-keeper"])
    asyncio.run(second())
    client.flushall()
    gc.collect()


@ABANDONED
def test_a_loop_that_ended_can_be_followed_by_another_after_aclose(
    server: Server, queue_name: str
) -> None:
    queue = Queue.from_url(server.url, name=queue_name)

    async def first() -> None:
        await queue.configure(lease=20)
        await queue.attach("x" * 22)

    asyncio.run(first())

    async def second() -> None:
        await queue.aclose()
        async with queue:
            assert (await queue.gauge())["lease_ms"] == 20_000

    asyncio.run(second())
    gc.collect()


FORKS = """
async def use(queue, sign):
    try:
        print(sign, (await queue.gauge())["waiting"], flush=True)
        print(sign, await queue.call("r", timeout=0.2), flush=True)
    except PeakError as error:
        print(sign, type(error).__name__, error, flush=True)

queue = Queue.from_url(sys.argv[1], name=sys.argv[2])
loop = asyncio.new_event_loop()
loop.run_until_complete(queue.open())
loop.run_until_complete(queue.attach("x" * 22))
pid = os.fork()
if pid == 0:
    asyncio.run(use(queue, "child"))
    asyncio.run(queue.aclose())
    other = Queue.from_url(sys.argv[1], name=sys.argv[2])
    async def mine():
        async with other:
            await use(other, "own")
    asyncio.run(mine())
    os._exit(0)
os.waitpid(pid, 0)
loop.run_until_complete(use(queue, "parent"))
loop.run_until_complete(queue.aclose())
loop.close()
"""


def test_after_a_fork_the_child_is_told_to_make_its_own(server: Server, queue_name: str) -> None:
    done = python(FORKS, server.url, queue_name)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "ConfigError" in lines[0]
    assert "fork" in lines[0] or "another event loop" in lines[0]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["own", "0"],
        ["own", "TaskExpired"],
        ["parent", "0"],
        ["parent", "TaskExpired"],
    ]


@pytest.mark.parametrize("end", ["os._exit(3)", "sys.exit(3)", "raise SystemExit(3)"])
def test_a_process_ends_without_aclose(server: Server, queue_name: str, end: str) -> None:
    program = (
        "async def main():\n"
        "    queue = Queue.from_url(sys.argv[1], name=sys.argv[2])\n"
        "    await queue.attach('x' * 22)\n"
        "    await queue.slot().enter_detached()\n"
        f"    {end}\n"
        "asyncio.run(main())\n"
    )
    done = python(program, server.url, queue_name)
    assert done.returncode == 3, done.stderr
    server.client().flushall()
