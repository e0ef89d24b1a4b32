"""What may be demanded of a server, and what is told when it keeps less."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyclient import Queue
from pyclient.connection import Connection, parse_address
from pyclient.durability import Durability, demanding
from pyclient.errors import ConfigError, Unavailable
from pyclient.kept import tells
from pyclient.settings import load, redis_address
from tests.servers import Server, valkey


@pytest.mark.parametrize(
    ("text", "mode", "replicas"),
    [
        ("", "", 0),
        ("memory", "memory", 0),
        ("aof", "aof", 0),
        ("replicated", "replicated", 1),
        ("replicated:2", "replicated", 2),
    ],
)
def test_modes_are_understood(text: str, mode: str, replicas: int) -> None:
    assert Durability.parse(text) == Durability(mode, replicas)
    assert parse_address(f"redis://h?durability={text}").durability == Durability(mode, replicas)
    embedded = parse_address(f"embedded:///d%20x?durability={text}")
    assert (embedded.directory, embedded.durability) == ("/d x", Durability(mode, replicas))


@pytest.mark.parametrize(
    "text", ["AOF", "aof:1", "replicated:0", "replicated:10", "replicated:", "replicated:x", "none"]
)
def test_other_words_are_refused_with_what_was_expected(text: str) -> None:
    expected = r"durability is '.*', expected memory, aof, replicated or replicated:N"
    with pytest.raises(ConfigError, match=expected):
        Queue.from_url("redis://h", durability=text)
    for url in ("redis://h", "embedded://"):
        with pytest.raises(ConfigError, match=expected):
            parse_address(f"{url}?durability={text}")
    with pytest.raises(ConfigError, match="PEAK_DURABILITY: expected memory"):
        load({"PEAK_DURABILITY": text})


def test_the_demand_travels_in_the_address() -> None:
    assert demanding("redis://h", None) == demanding("redis://h", "") == "redis://h"
    assert demanding("redis://h?db=1", "aof") == "redis://h?db=1&durability=aof"
    assert demanding("redis://h?durability=aof", "aof") == "redis://h?durability=aof"
    with pytest.raises(ConfigError, match="keep one of them"):
        demanding("redis://h?durability=aof", "memory")
    settings = load({"PEAK_REDIS_URL": "redis://h", "PEAK_DURABILITY": "replicated:2"})
    assert redis_address(settings) == "redis://h?durability=replicated:2"
    assert Queue.from_url("redis://h", durability="aof").url == "redis://h?durability=aof"


def test_what_is_waited_for_is_what_somebody_acts_on() -> None:
    assert all(tells(name, ()) for name in ("admit", "publish", "place", "cancel", "fetch"))
    assert not any(tells(name, ()) for name in ("renew", "sweep", "limit", "gauge"))
    assert not tells("attach", ("caller",))
    assert tells("attach", ("caller", "id"))


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """No log on disk, no replica; users of several rights."""
    with valkey() as server:
        client = server.client()
        everything = ("on", "nopass", "~*", "&*", "+@all")
        for name, without in (("bare", ("-config",)), ("blind", ("-info",)), ("mute", ("-wait",))):
            client.execute_command("ACL SETUSER", name, *everything, *without)
        yield server


def with_user(server: Server, name: str, durability: str) -> str:
    user = f"?username={name}&password=x" if name else "?"
    return f"{server.url}{user}&durability={durability}".replace("?&", "?")


async def open_and_close(url: str) -> None:
    connection = Connection(url, patience=0.1)
    await connection.open()
    await connection.aclose()


async def test_memory_demands_nothing(plain: Server) -> None:
    await open_and_close(with_user(plain, "", "memory"))
    await open_and_close(with_user(plain, "bare", "memory"))


@pytest.mark.parametrize("user", ["", "bare"])
@pytest.mark.leaves_keys("*")
async def test_aof_is_asked_of_info(plain: Server, user: str) -> None:
    client = plain.client()
    with pytest.raises(ConfigError, match="expected a server with appendonly yes"):
        await open_and_close(with_user(plain, user, "aof"))
    client.config_set("appendonly", "yes")
    try:
        await open_and_close(with_user(plain, user, "aof"))
        client.config_set("appendfsync", "no")
        if user:  # who may not ask CONFIG GET is not told
            await open_and_close(with_user(plain, user, "aof"))
        else:
            with pytest.raises(ConfigError, match="expected appendfsync everysec or always"):
                await open_and_close(with_user(plain, user, "aof"))
    finally:
        client.config_set("appendfsync", "everysec")
        client.config_set("appendonly", "no")


@pytest.mark.parametrize("user", ["", "bare"])
async def test_replicated_wants_a_log_a_guard_and_replicas(plain: Server, user: str) -> None:
    client = plain.client()
    with pytest.raises(ConfigError, match="comes back empty"):
        await open_and_close(with_user(plain, user, "replicated"))
    client.config_set("appendonly", "yes")
    with pytest.raises(ConfigError, match="expected min-replicas-to-write 1 or more, came 0"):
        await open_and_close(with_user(plain, user, "replicated"))
    client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(Unavailable, match="expected 2 replicas in touch, came 0") as caught:
            await open_and_close(with_user(plain, user, "replicated:2"))
        assert caught.value.code == "REPLICAS"
    finally:
        client.config_set("min-replicas-to-write", 0)
        client.config_set("appendonly", "no")


async def test_rights_that_the_check_needs_are_named(plain: Server) -> None:
    with pytest.raises(ConfigError, match=r"may call INFO.*\+info"):
        await open_and_close(with_user(plain, "blind", "aof"))
    with pytest.raises(ConfigError, match=r"may call WAIT.*\+wait"):
        await open_and_close(with_user(plain, "mute", "replicated"))
    await open_and_close(with_user(plain, "blind", "memory"))


@pytest.mark.leaves_keys("*")
async def test_without_a_demand_nobody_waits(plain: Server) -> None:
    plain.client().config_resetstat()
    async with Queue.from_url(plain.url, name="free") as queue:
        await queue.submit("work", 1, timeout=20, keep=1)
        assert "cmdstat_wait" not in plain.client().info("commandstats")


async def test_a_private_server_keeps_nothing() -> None:
    with pytest.raises(ConfigError, match="appendonly yes"):
        await Queue.from_url(durability="aof").open()
    async with Queue.from_url(durability="memory") as queue:
        assert queue.address.endswith("?durability=memory")
