"""Redis away, empty, shared or clustered: A18, A20 to A23, A42, A43, A45."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from pyclient.errors import Unavailable
from tests import servers, topologies
from tests.servers import Server

from .rig import Process, Refusal, site, took, until
from .seed import gateway_of, shutdown


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that a test may break."""
    with servers.valkey(tcp=True) as made:
        yield made


def cpu_seconds(process: Process) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a18_keys_of_others_are_not_touched(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        theirs = {"routelimit:/echo": b"7", "routelimit:mine": b"1", "peakless": b"x"}
        for name, value in theirs.items():
            at.raw.set(name, value, ex=60)
        at.raw.rpush("queue:web", "kept")
        at.raw.expire("queue:web", 60)
        at.node({"/echo": "echo"})
        await at.ready("/echo")
        assert await at.call("/echo", {"value": 1}) == (True, 1)
        assert {name: at.raw.get(name) for name in theirs} == theirs
        assert at.raw.lrange("queue:web", 0, -1) == [b"kept"]
        ours = [key for key in at.raw.keys("*") if key not in {*map(str.encode, theirs)}]
        assert all(key.startswith(at.key("").encode()) for key in ours if key != b"queue:web")


@pytest.mark.faults
async def test_a20_a22_after_a_restart_that_left_redis_empty_all_serve_again(
    own: Server, tmp_path: Path
) -> None:
    async with site(own, tmp_path) as at:
        at.node({"/add": "add"}, {"/add": 2})
        at.node({"/add": "add"}, {"/add": 2}, run_startup=False)
        await at.ready("/add")
        assert await at.call("/add", {"a": 1, "b": 2}) == (True, 3)
        own.stop()
        await asyncio.sleep(1)
        own.start()
        back = time.monotonic()
        while True:
            try:
                assert await at.call("/add", {"a": 1, "b": 2}) == (True, 3)
                break
            except (Refusal, AssertionError):
                assert time.monotonic() - back < 5
                await asyncio.sleep(0.05)
        assert await at.free("/add", 3) == 2


@pytest.mark.faults
async def test_a22_a_request_right_after_a_flush_is_served(own: Server, tmp_path: Path) -> None:
    async with site(own, tmp_path) as at:
        at.node({"/add": "add"}, {"/add": 2})
        await at.ready("/add")
        await at.call("/add", {"a": 1, "b": 2})
        for _ in range(2):
            at.raw.flushall()
            with took(0, 3):
                assert await at.call("/add", {"a": 2, "b": 2}) == (True, 4)
            assert await at.free("/add", 3) == 2


@pytest.mark.faults
async def test_a21_a23_without_redis_nodes_are_quiet_and_requests_refused_within_a_second(
    own: Server, tmp_path: Path
) -> None:
    async with site(own, tmp_path) as at:
        node = at.node({"/add": "add"})
        await at.ready("/add")
        await at.call("/add", {"a": 1, "b": 2})
        own.stop()
        await asyncio.sleep(1.5)
        used, lines = cpu_seconds(node), node.text().count("\n")
        for _ in range(3):
            with took(0, 1), pytest.raises(Refusal):
                await at.call("/add")
        await asyncio.sleep(2)
        assert cpu_seconds(node) - used < 0.05 * 5 + 0.02
        assert node.text().count("\n") - lines < 20
        own.start()
        await at.ready("/add")
        with took(0, 5):
            assert await at.call("/add", {"a": 1, "b": 2}) == (True, 3)


@pytest.mark.faults
async def test_a23_a_frozen_redis_is_no_hang_and_no_exception(own: Server, tmp_path: Path) -> None:
    async with site(own, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, {"/sleepy": 1}, threads=1)
        await at.ready("/sleepy")
        await at.call("/sleepy")
        with own.paused(), took(0.5, 1.1), pytest.raises(Refusal):
            await at.call("/sleepy")
        # What was taken in the dark was given back.
        await until(lambda: not at.raw.zcard(at.key("places")))
        assert await at.call("/sleepy") == (True, "slept")


@pytest.mark.faults
async def test_a23_many_requests_to_a_redis_that_was_never_there_are_refused_together(
    own: Server, tmp_path: Path
) -> None:
    own.stop()
    async with site(own, tmp_path) as at:
        with contextlib.suppress(Refusal):
            await at.call("/add")  # imports what is slow to import
        with took(0, 1.3):
            calls = [at.call("/add") for _ in range(40)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(answer) for answer in answers} == {Refusal}


async def test_a42_applications_of_different_prefixes_never_meet(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/who": "starred"}, env={"PEAK_PREFIX": "one"})
        at.node({"/who": "other"}, env={"PEAK_PREFIX": "two"})
        monkeypatch.setenv("PEAK_PREFIX", "one")
        await at.ready("/who")
        assert await at.call("/who") == (True, "2 None")
        await shutdown()
        monkeypatch.setenv("PEAK_PREFIX", "two")
        await at.ready("/who")
        for _ in range(4):
            assert await at.call("/who", {"text": "b"}) == (True, "B")
        await shutdown()
        monkeypatch.setenv("PEAK_PREFIX", "three")
        with pytest.raises(Refusal):
            await at.call("/who")


async def test_a43_it_works_on_a_cluster(tmp_path: Path) -> None:
    with topologies.cluster() as slots:
        cluster = redis.asyncio.RedisCluster.from_url(slots.nodes[0].url)
        async with site(slots.nodes[0], tmp_path) as at:
            nodes = ",".join(node.url.removeprefix("redis://") for node in slots.nodes)
            at.server = type("Address", (), {"url": f"redis+cluster://{nodes}"})()
            at.raw = slots.client()
            at.node({"/add": "add"}, {"/add": 2})
            await at.ready("/add")
            await cluster.initialize()
            answer = None
            while answer is None:  # to find its nodes may take longer than a request waits
                with contextlib.suppress(Refusal):
                    answer = await at.call("/add", {"a": 20, "b": 22}, client=cluster)
            assert answer == (True, 42)
        await cluster.aclose()


@pytest.mark.faults
async def test_a45_an_answer_that_came_while_the_gateway_was_cut_off_is_delivered(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, threads=1)
        await at.ready("/sleepy")
        await at.call("/sleepy")
        call = asyncio.create_task(at.call("/sleepy", {"seconds": 0.6, "name": "cut"}))
        await until(lambda: "began cut" in at.noted())
        cut = 0
        for _ in range(8):  # again and again, but not the client of the work itself
            for client in at.raw.client_list():
                if client["name"].startswith("peak"):
                    cut += at.raw.client_kill_filter(_id=client["id"])
            await asyncio.sleep(0.1)
        assert cut > 0
        assert await call == (True, "cut")


async def test_who_waits_for_the_connection_when_it_is_closed_is_told_and_not_cancelled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = gateway_of(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        waiting = asyncio.create_task(gateway.line())
        await asyncio.sleep(0.05)
        await gateway.aclose()
        with pytest.raises(Unavailable):
            await waiting
