"""Cluster: slots are found, followed while they move, and survive their node."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyclient.address import Endpoint
from pyclient.cluster import redirect_of, slot_of
from pyclient.connection import Connection
from pyclient.errors import Unavailable
from tests.pyclient.connection_rig import COUNT, ECHO, connected
from tests.servers import Server
from tests.topologies import Slotted, cluster

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def nodes() -> Iterator[Slotted]:
    with cluster(3) as slotted:
        yield slotted


def test_slots_are_those_of_redis(nodes: Slotted) -> None:
    client = nodes.nodes[0].client()
    for key in ("", "k", "peak:{q}:", "{}x", "a{}{b}", "x{", "{{a}}", "ü{é}"):
        assert slot_of(key.encode()) == client.execute_command("CLUSTER KEYSLOT", key)


@pytest.mark.parametrize(
    ("reply", "slot", "endpoint"),
    [
        ("MOVED 3999 127.0.0.1:6381", 3999, Endpoint("127.0.0.1", 6381)),
        ("ASK 3999 [::1]:6381", 3999, Endpoint("::1", 6381)),
        ("MOVED 3999 ::1:6381", 3999, Endpoint("::1", 6381)),
        ("MOVED 3999 :6381", 3999, Endpoint("asked", 6381)),
    ],
)
def test_redirections_are_understood(reply: str, slot: int, endpoint: Endpoint) -> None:
    assert redirect_of(reply, Endpoint("asked", 1)) == (slot, endpoint)


@pytest.mark.parametrize("seeds", [1, 3])
async def test_every_key_is_found_from_any_seed(nodes: Slotted, seeds: int) -> None:
    hosts = ",".join(f"127.0.0.1:{one.port}" for one in nodes.nodes[-seeds:])
    async with connected(f"redis+cluster://{hosts}") as connection:
        keys = [f"peak:{{q{n}}}:" for n in range(60)]
        replies = await asyncio.gather(*(connection.call(ECHO, [k], [k]) for k in keys))
        assert replies == [[b"OK", key.encode()] for key in keys]
        await connection.command("SET", "{q7}body", b"x" * 1000)
        assert await connection.command("GET", "{q7}body") == b"x" * 1000


async def test_a_plain_address_of_one_node_says_what_to_do(nodes: Slotted) -> None:
    owners = {nodes.node_of(key).port: key for key in ("a", "b", "c", "d", "e", "f")}
    key = next(k for port, k in owners.items() if port != nodes.nodes[0].port)
    async with connected(nodes.nodes[0].url) as connection:
        with pytest.raises(Unavailable, match=r"redis\+cluster://") as caught:
            await connection.call(ECHO, [key], ["x"])
        assert caught.value.code == "MOVED"


async def test_a_slot_that_moves_is_followed(nodes: Slotted) -> None:
    async with connected(nodes.url) as connection:
        reader = connection.reader()
        assert await connection.call(COUNT, ["{m}k"], []) == 1
        assert await reader.read("BLPOP", "{m}wake", "0.01") is None
        news: list[int] = []
        connection.on_reconnect(lambda: news.append(1))
        with moving(nodes, "{m}k") as (source, target, finish):
            # Not there yet: this key is the source's, a new one is asked of the target.
            assert await connection.call(COUNT, ["{m}k"], []) == 2
            assert await connection.call(COUNT, ["{m}new"], []) == 1
            assert await connection.call(COUNT, ["{m}new"], []) == 2
            source.client().execute_command("MIGRATE 127.0.0.1", target.port, "{m}k", 0, 5000)
            assert await connection.call(COUNT, ["{m}k"], []) == 3
            finish()
            assert await connection.call(COUNT, ["{m}k"], []) == 4
            assert await connection.call(COUNT, ["{m}new"], []) == 3
            assert news
            for _ in range(3):
                with contextlib.suppress(Unavailable):
                    assert await reader.read("BLPOP", "{m}wake", "0.01") is None
                    break
            else:
                pytest.fail("the reader does not follow")


async def test_a_call_that_would_split_its_keys_is_refused_by_the_server(nodes: Slotted) -> None:
    async with connected(nodes.url) as connection:
        with moving(nodes, "{t}k") as (_, _, finish):
            # No key of this slot exists: ASK sends the call to the importing node.
            assert await connection.call(COUNT, ["{t}k"], []) == 1
            finish()
            assert await connection.call(COUNT, ["{t}k"], []) == 2


@pytest.mark.parametrize("fault", ["kill", "stop"])
async def test_a_node_that_dies_is_replaced(fault: str) -> None:
    with cluster(3, replicas=1) as nodes:
        async with connected(nodes.url) as connection:
            assert await connection.call(COUNT, ["{q}k"], []) == 1
            server = nodes.node_of("{q}k")
            await asyncio.sleep(0.2)
            begun = time.monotonic()
            with contextlib.ExitStack() as stack:
                if fault == "kill":
                    server.kill()
                else:
                    stack.enter_context(server.paused())
                longest = await served_again(connection)
                assert time.monotonic() - begun < 15
                assert longest < 2.0
            assert await connection.call(ECHO, ["{q}k"], ["x"]) == [b"OK", b"x"]


async def served_again(connection: Connection) -> float:
    """Call until one is answered; the longest that any call took."""
    longest = 0.0
    for _ in range(200):
        begun = time.monotonic()
        try:
            await connection.call(COUNT, ["{q}k"], [], timeout=1.5)
        except Unavailable:
            longest = max(longest, time.monotonic() - begun)
            continue
        return longest
    pytest.fail("never served again")


@contextlib.contextmanager
def moving(nodes: Slotted, key: str) -> Iterator[tuple[Server, Server, Any]]:
    """A slot on its way to another node; `finish` completes the move. Undone at the end."""
    source = nodes.node_of(key)
    target = next(one for one in nodes.nodes if one is not source)
    slot = slot_of(key.encode())
    names = {one: one.client().execute_command("CLUSTER MYID") for one in nodes.nodes}
    target.client().execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
    source.client().execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])

    def give(owner: Server) -> None:
        order = [owner, *(one for one in nodes.nodes if one is not owner)]
        for one in order:
            one.client().execute_command("CLUSTER SETSLOT", slot, "NODE", names[owner])

    try:
        yield source, target, lambda: give(target)
    finally:
        with contextlib.suppress(Exception):
            target.client().flushall()
            give(source)
