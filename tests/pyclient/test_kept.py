"""`replicated`: nobody is told what the replicas do not have."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest

from pyclient import Queue
from pyclient.connection import Connection
from pyclient.errors import Unavailable
from tests import servers
from tests.pyclient.client_rig import TinyWorker
from tests.pyclient.connection_rig import ECHO, Lua
from tests.servers import Server, until

pytestmark = [pytest.mark.faults, pytest.mark.leaves_keys("*")]
# Named as a script whose reply is told.
ADD = Lua(b"#!lua\nreturn redis.call('SADD', KEYS[1], ARGV[1])", "admit")
READ = Lua(b"#!lua flags=no-writes\nreturn redis.call('SCARD', KEYS[1])", "fetch")
WRONG = Lua(b"#!lua\nreturn redis.error_reply('BADARG x')", "admit")


class Group(NamedTuple):
    """A primary and its replicas."""

    primary: Server
    replicas: list[Server]

    def url(self, least: int = 1) -> str:
        return f"{self.primary.url}?durability=replicated:{least}"


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """A primary with two replicas."""
    with servers.several() as make:
        guard = {"min-replicas-to-write": 1, "min-replicas-max-lag": 10}
        settings: dict[str, servers.Setting] = {**servers.DEFAULTS, **guard, "appendonly": "yes"}
        settings["repl-ping-replica-period"] = 1
        primary = make(**settings)
        copies = [make(replicaof=[f"127.0.0.1 {primary.port}"], **settings) for _ in range(2)]
        for one in (primary, *copies):
            one.ready()
        client = primary.client()
        until(lambda: client.info("replication").get("min_slaves_good_slaves") == 2, timeout=20)
        yield Group(primary, copies)


@contextlib.asynccontextmanager
async def connected(group: Group, least: int = 1) -> AsyncIterator[Connection]:
    connection = Connection(group.url(least))
    await connection.open()
    try:
        yield connection
    finally:
        await connection.aclose()


def waits(group: Group) -> int:
    stats = group.primary.client().info("commandstats")
    return int(stats.get("cmdstat_wait", {"calls": 0})["calls"])


async def test_a_replica_as_a_way_in_is_not_judged_as_a_primary(group: Group) -> None:
    """As a Cluster is entered by any node; a primary is judged when it is reached."""
    connection = Connection(f"{group.replicas[0].url}?durability=replicated")
    await connection.open()
    await connection.aclose()


async def test_what_is_told_is_on_every_replica(group: Group) -> None:
    async with connected(group) as connection:
        for number in range(20):
            assert await connection.call(ADD, ["{k}s"], [number]) == 1
            for one in group.replicas:
                assert one.client(protocol=2).sismember("{k}s", str(number))


async def test_only_what_somebody_acts_on_is_waited_for(group: Group) -> None:
    async with connected(group) as connection:
        await connection.command("GET", "{k}")  # the check of a new link asks for WAIT too
        before = waits(group)
        await connection.call(ECHO, ["{k}"], ["x"])
        await connection.command("GET", "{k}")
        assert waits(group) == before
        await connection.call(ADD, ["{k}o"], [1])
        await connection.command(b"SET", "{k}body", "x")
        assert waits(group) >= before + 2


async def test_an_error_reply_is_not_waited_for(group: Group) -> None:
    async with connected(group) as connection:
        with pytest.raises(Exception, match="BADARG"):
            await connection.call(WRONG, ["{k}"], [1])


async def test_a_replica_that_is_stopped_holds_the_reply_back(group: Group) -> None:
    async with connected(group) as connection:
        await connection.call(ADD, ["{h}s"], ["before"])
        with group.replicas[1].paused():
            call = asyncio.create_task(connection.call(ADD, ["{h}s"], ["x"]))
            await asyncio.sleep(0.3)
            assert not call.done()
        assert await call == 1


async def test_too_few_replicas_make_the_call_unknown(group: Group) -> None:
    async with connected(group) as connection:
        await connection.call(ADD, ["{u}s"], ["before"])
        begun = time.monotonic()
        with (
            group.replicas[0].paused(),
            group.replicas[1].paused(),
            pytest.raises(Unavailable, match=r"0 of 2 replicas have confirmed|in time") as caught,
        ):
            await connection.call(ADD, ["{u}s"], ["x"], timeout=0.5)
        assert caught.value.unknown
        assert 0.15 < time.monotonic() - begun < 1.5
        assert await connection.call(ADD, ["{u}s"], ["y"]) == 1


async def test_what_was_only_read_is_kept_too(group: Group) -> None:
    """By another socket than the one that wrote it: WAIT alone would answer at once."""
    async with connected(group) as one:
        await one.call(READ, ["{o}s"], [])
        with group.replicas[1].paused():
            group.primary.client().sadd("{o}s", "x")
            with pytest.raises(Unavailable, match=r"1 of 2 replicas|in time"):
                await one.call(READ, ["{o}s"], [], timeout=0.5)
        assert await one.call(READ, ["{o}s"], []) == 1


async def test_a_full_primary_still_tells(group: Group) -> None:
    client = group.primary.client()
    async with connected(group) as connection:
        await connection.call(READ, ["{f}s"], [])
        client.config_set("maxmemory", 1)
        try:
            assert await connection.call(READ, ["{f}s"], []) == 0
            with pytest.raises(Unavailable, match="could not be asked: OOM"):
                await connection.call(READ, ["{nomark}s"], [])
        finally:
            client.config_set("maxmemory", 0)


async def test_a_replica_that_is_gone_is_waited_for_no_longer(group: Group) -> None:
    async with connected(group) as one, connected(group, 2) as two:
        await one.call(ADD, ["{g}s"], ["before"])
        await asyncio.to_thread(group.replicas[1].kill)
        try:
            begun = time.monotonic()
            assert await one.call(ADD, ["{g}s"], ["x"]) == 1
            assert time.monotonic() - begun < 6.0  # it counts for two seconds more
            with pytest.raises(Unavailable, match=r"1 of 2 replicas|in time"):
                await two.call(ADD, ["{g}s"], ["y"], timeout=0.5)
        finally:
            await asyncio.to_thread(group.replicas[1].start)
        client = group.primary.client()
        until(lambda: client.info("replication")["min_slaves_good_slaves"] == 2, timeout=20)
        assert await two.call(ADD, ["{g}s"], ["z"]) == 1


async def test_a_call_is_answered_once_replicas_are_back_and_runs_once(group: Group) -> None:
    async with (
        TinyWorker(group.url(), "kept") as worker,
        Queue.from_url(group.url(), name="kept") as queue,
    ):
        assert await queue.call("work", 1) == 1
        with group.replicas[0].paused(), group.replicas[1].paused():
            calls = [asyncio.create_task(queue.call("work", n)) for n in range(5)]
            submit = asyncio.create_task(queue.submit("work", 9, keep=10))
            await asyncio.sleep(3.6)  # past the first try of a call
            assert not any(one.done() for one in (*calls, submit))
        assert await asyncio.gather(*calls) == list(range(5))
        assert await (await submit).result(timeout=5) == 9
        assert sorted(task.attempt for task in worker.seen) == [1] * 7


async def test_answers_are_not_read_before_replicas_have_them(group: Group) -> None:
    async with connected(group) as connection:
        reader = connection.reader()
        client = group.primary.client()
        with group.replicas[1].paused():
            client.xadd("{r}inbox", {"a": "b"})
            read = reader.read(b"XREAD", b"COUNT", 4, b"BLOCK", 500, b"STREAMS", "{r}inbox", "0")
            reading = asyncio.create_task(read)
            await asyncio.sleep(0.3)
            assert not reading.done()
        assert (await reading)[0][1][0][1] == [b"a", b"b"]
