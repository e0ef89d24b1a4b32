"""Sentinel: the primary is found, and a switch is noticed before it costs much."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import pytest

from pyclient import sentinel as sentinel_module
from pyclient.address import Endpoint
from pyclient.connection import Connection, _topology, parse_address
from pyclient.errors import Unavailable
from pyclient.link import DEFAULT_LIMITS, Link
from pyclient.sentinel import Sentinels, _announced
from tests.pyclient.connection_rig import COUNT, ECHO, Lua, connected
from tests.servers import until, valkey
from tests.topologies import SERVICE, Watched, sentinel

pytestmark = pytest.mark.faults
ADD = Lua(b"#!lua\nreturn redis.call('SADD', KEYS[1], ARGV[1])")


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with sentinel() as servers:
        yield servers


@pytest.mark.parametrize(
    ("message", "primary"),
    [
        (["message", "+switch-master", "peak 10.0.0.1 1 10.0.0.2 2"], Endpoint("10.0.0.2", 2)),
        (["message", "+switch-master", "other 10.0.0.1 1 10.0.0.2 2"], None),
        (
            ["message", "+promoted-slave", "slave n 10.0.0.2 2 @ peak 10.0.0.1 1"],
            Endpoint("10.0.0.2", 2),
        ),
        (["message", "+promoted-slave", "slave peak 10.0.0.2 2 @ other 10.0.0.1 1"], None),
    ],
)
def test_what_sentinels_announce(message: list[str], primary: Endpoint | None) -> None:
    assert _announced("peak", message) == primary


async def test_who_lags_behind_does_not_bring_back_a_deposed_primary() -> None:
    """Seen: two failovers at once, and a third Sentinel that told of the first one last."""
    topology = _topology(parse_address("redis+sentinel://s1,s2,s3/peak"), DEFAULT_LIMITS)
    assert isinstance(topology, Sentinels)
    switches: list[str] = []
    topology._on_switch = switches.append
    s1, s2, s3 = (Endpoint(f"s{n}", 26379) for n in (1, 2, 3))
    a, b = Endpoint("a", 1), Endpoint("b", 2)
    topology._primary = a
    topology._switched(s1, b, early=True)
    topology._switched(s1, b, early=False)
    topology._switched(s2, a, early=True)
    assert topology._primary == a
    topology._switched(s3, b, early=False)
    assert topology._primary == a
    topology._switched(s3, b, early=True)
    assert topology._primary == b
    assert len(switches) == 3


async def test_a_primary_that_is_deposed_while_it_is_dialled_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topology = _topology(parse_address("redis+sentinel://s1/peak"), DEFAULT_LIMITS)
    assert isinstance(topology, Sentinels)
    new, place = Endpoint("new", 1), Endpoint("service peak", 0)
    with valkey(tcp=True) as server:
        old = Endpoint("127.0.0.1", server.port)

        async def locate() -> Endpoint:
            return old

        async def want_primary_as_it_is_deposed(link: Link, endpoint: Endpoint) -> None:
            await want_primary(link, endpoint)
            topology._switched(Endpoint("s1", 26379), new, early=True)

        want_primary = sentinel_module._want_primary
        monkeypatch.setattr(topology, "_locate", locate)
        (await topology.open(place)).abort("enough")
        monkeypatch.setattr(sentinel_module, "_want_primary", want_primary_as_it_is_deposed)
        with pytest.raises(Unavailable, match="is being replaced by"):
            await topology.open(place)
        assert topology._primary == new


async def test_the_newest_configuration_is_believed(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = _topology(parse_address(watched.url), DEFAULT_LIMITS)
    assert isinstance(topology, Sentinels)
    assert (await topology._locate()).port == watched.primary.port
    told = iter([(3, Endpoint("old", 1)), (5, Endpoint("new", 2)), (4, Endpoint("older", 3))])

    async def ask(sentinel: Endpoint) -> tuple[int, Endpoint, Endpoint]:
        epoch, endpoint = next(told)
        return epoch, sentinel, endpoint

    monkeypatch.setattr(topology, "_ask", ask)
    assert await topology._locate() == Endpoint("new", 2)


async def test_the_primary_is_found_past_sentinels_that_are_away(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    away = watched.url.replace("redis+sentinel://", "redis+sentinel://127.0.0.1:1,")
    with caplog.at_level(logging.WARNING):
        async with connected(away) as connection:
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
            assert await connection.command("SET", "body", "x") == b"OK"
            assert await connection.reader().read("BLPOP", "wake", "0.01") is None
    assert "durability=weak" in caplog.text


@pytest.mark.parametrize(
    ("hosts", "service"), [("127.0.0.1:1", SERVICE), ("", "nobody")], ids=["away", "unknown"]
)
async def test_no_primary_to_be_found(watched: Watched, hosts: str, service: str) -> None:
    hosts = hosts or f"127.0.0.1:{watched.sentinels[0].port}"
    with pytest.raises(Unavailable, match="no Sentinel names a primary") as caught:
        await Connection(f"redis+sentinel://{hosts}/{service}", patience=0.2).open()
    assert caught.value.code == "SENTINEL"


async def test_a_planned_failover_loses_nothing_that_was_acknowledged(watched: Watched) -> None:
    old = watched.primary
    news: list[int] = []
    acked: set[bytes] = set()
    async with connected(watched.url) as connection:
        connection.on_reconnect(lambda: news.append(1))
        until_time, number = time.monotonic() + 4, 0
        while time.monotonic() < until_time:
            number += 1
            if number == 100:
                watched.sentinels[0].client().execute_command("SENTINEL FAILOVER", SERVICE)
            try:
                await connection.call(ADD, ["{q}s"], [number], timeout=1.5)
                acked.add(b"%d" % number)
            except Unavailable:
                await asyncio.sleep(0.01)
    until(lambda: watched.primary is not old, timeout=20)
    assert news
    assert len(acked) > 500
    kept = watched.client(protocol=2).smembers("{q}s")
    assert isinstance(kept, set)
    assert len(acked - kept) <= len(acked) // 100


@pytest.mark.parametrize("fault", ["kill", "stop"])
async def test_a_primary_that_dies_is_replaced(fault: str) -> None:
    with sentinel() as servers:
        async with connected(servers.url) as connection:
            await connection.call(COUNT, ["k"], [])
            old = servers.primary
            begun = time.monotonic()
            if fault == "kill":
                await asyncio.to_thread(old.kill)
                longest = await _served_again(connection)
            else:
                with old.paused():
                    longest = await _served_again(connection)
            assert time.monotonic() - begun < 15
            assert longest < 2.0


async def test_without_sentinels_the_known_primary_serves_on() -> None:
    with sentinel(n=1, replicas=1) as servers:
        async with connected(servers.url) as connection:
            await connection.call(ECHO, ["k"], ["x"])
            await asyncio.to_thread(servers.sentinels[0].kill)
            for _ in range(20):
                assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
                await asyncio.sleep(0.01)
            assert connection.epoch == 1


async def _served_again(connection: Connection) -> float:
    """Call until one is answered; the longest that any call took."""
    longest = 0.0
    for _ in range(100):
        begun = time.monotonic()
        try:
            await connection.call(COUNT, ["k"], [], timeout=1.5)
        except Unavailable:
            longest = max(longest, time.monotonic() - begun)
            continue
        return longest
    pytest.fail("never served again")
