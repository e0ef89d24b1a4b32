"""A whole program of fastapi-queue, its imports changed: a gateway, and nodes by os.fork."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests import servers
from tests.servers import Server

from .rig import Process, Site, site, took, until


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that a test may break."""
    with servers.valkey(tcp=True) as made:
        yield made


@asynccontextmanager
async def program(
    server: Server, folder: Path, **env: str
) -> AsyncIterator[tuple[Site, httpx.AsyncClient, Process]]:
    """Gateway and nodes, and a client of the gateway."""
    port = servers.free_ports(1)[0]
    env = {"PROGRAM_REDIS": server.url, **env}
    async with site(server, folder) as at:
        nodes = at.start("tests.compat.program.nodes", **env)
        at.start("uvicorn", "tests.compat.program.gateway:app", "--port", str(port), **env)
        limits = httpx.Limits(max_connections=200)
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as http:
            try:
                await at.ready("/", "/slow", timeout=20)
                await until(lambda: nodes.text().count("serving") == 4, 20, "four nodes")
                await until(lambda: _answers(http), 20, "the gateway")
                yield at, http, nodes
            finally:
                for pid in numbers(nodes):
                    _kill(pid)
                    await until(lambda pid=pid: not alive(pid), 10, "its end")  # type: ignore[misc]


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/")).status_code == 200
    except httpx.TransportError:
        return False


def numbers(nodes: Process) -> list[int]:
    """The process numbers of the four nodes, the parent's first."""
    found = {int(number) for number in re.findall(r"^node (\d+)$", nodes.text(), re.MULTILINE)}
    return sorted(found, key=lambda pid: (pid != nodes.pid, pid))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a05_a24_a32_statuses_over_http(server: Server, tmp_path: Path) -> None:
    async with program(server, tmp_path, PROGRAM_SLOW="2") as (at, http, _):
        assert (await http.get("/digits?x=12345")).json() == {"status": 200, "data": 15}
        assert (await http.get("/triangle?n=10")).json() == {"status": 200, "data": 55}
        assert (await http.get("/unknown")).status_code == 503
        slow = [
            asyncio.create_task(http.get(f"/slow?seconds=0.8&name=s{number}"))
            for number in range(2)
        ]
        await at.living(2)
        refused = await http.get("/slow?seconds=0&name=third")
        assert refused.status_code == 503
        assert refused.json() == "Service Temporarily Unavailable"
        answers = [answer.json() for answer in await asyncio.gather(*slow)]
        assert answers == [{"status": 200, "data": f"s{number}"} for number in range(2)]
        assert "began third" not in at.noted()


async def test_a32_an_http_client_that_leaves_takes_its_waiting_task_along(
    server: Server, tmp_path: Path
) -> None:
    async with program(server, tmp_path, PROGRAM_SLOW="17") as (at, http, _):
        busy = [
            asyncio.create_task(http.get(f"/slow?seconds=1.5&name=busy{number}"))
            for number in range(16)
        ]
        await until(lambda: at.raw.zcard(at.key("leases")) == 16)
        for send in (http.get, http.post):
            waiting = asyncio.create_task(send("/slow?seconds=0&name=gone"))
            await at.living(17)
            assert (await http.get("/slow?seconds=0&name=none")).status_code == 503
            waiting.cancel()
            with took(0, 0.5):
                await at.living(16)
        kept = asyncio.create_task(http.post("/slow?seconds=0&name=kept", content=b"x" * 40_000))
        answer = (await kept).json()
        assert answer == {"answer": {"status": 200, "data": "kept"}, "sent": 40_000}
        assert {one.status_code for one in await asyncio.gather(*busy)} == {200}
        assert "began gone" not in at.noted()


async def test_a13_the_parent_gets_sigint_and_its_children_go_on(
    server: Server, tmp_path: Path
) -> None:
    async with program(server, tmp_path) as (_, http, nodes):
        parent, *children = numbers(nodes)
        os.kill(parent, signal.SIGINT)
        await until(lambda: f"Pid: {parent}, shutdown" in nodes.text())
        answers = await asyncio.gather(*[http.get(f"/digits?x={n}") for n in range(40)])
        assert {answer.status_code for answer in answers} == {200}
        assert all(alive(pid) for pid in children)


@pytest.mark.faults
async def test_a23_without_redis_the_gateway_answers_503_within_a_second(
    own: Server, tmp_path: Path
) -> None:
    async with program(own, tmp_path) as (_, http, _nodes):
        own.stop()
        for _ in range(3):
            with took(0, 1.1):
                answer = await http.get("/")
            assert answer.status_code == 503
        own.start()
        back = time.monotonic()
        while (await http.get("/")).status_code != 200:
            assert time.monotonic() - back < 5
            await asyncio.sleep(0.05)


async def _load(http: httpx.AsyncClient, total: int, nodes: Process) -> list[int]:
    """Many requests, 50 at a time; two nodes are stopped on the way."""
    parent, child, *_ = numbers(nodes)
    stops = {total // 3: (parent, signal.SIGINT), 2 * total // 3: (child, signal.SIGTERM)}
    paths = ["/", "/digits?x=77", "/triangle?n=4"]
    statuses: list[int] = []
    left = iter(range(total))

    async def some() -> None:
        for number in left:
            if number in stops:
                os.kill(*stops[number])
            statuses.append((await http.get(paths[number % 3])).status_code)

    await asyncio.gather(*[some() for _ in range(50)])
    return statuses


@pytest.mark.parametrize("total", [300, pytest.param(1000, marks=pytest.mark.full)])
async def test_no_request_fails_while_nodes_are_stopped_under_load(
    server: Server, tmp_path: Path, total: int
) -> None:
    async with program(server, tmp_path) as (_, http, nodes):
        parent, child, *others = numbers(nodes)
        statuses = await _load(http, total, nodes)
        print(f"{total} requests, {statuses.count(200)} answered", file=sys.stderr)
        assert statuses == [200] * total
        await until(lambda: not alive(child), 10, "the end of the child")
        assert f"Pid: {child}, shutdown" in nodes.text()
        assert f"Pid: {parent}, shutdown" in nodes.text()
        assert all(alive(pid) for pid in others)
        for pid in others:
            os.kill(pid, signal.SIGTERM)
        assert nodes.wait() == 0
