"""Blocking reads: a socket of their own, bounded waits, one at a time."""

from __future__ import annotations

import asyncio

import pytest

from pyclient.blocking import block_of, key_of
from pyclient.errors import ConfigError, Unavailable
from pyclient.link import Arg
from tests.pyclient.connection_rig import connected
from tests.servers import Server

RESP = pytest.mark.parametrize("option", ["", "?protocol=3"], ids=["resp2", "resp3"])


@RESP
async def test_a_reader_waits_without_holding_up_calls(server: Server, option: str) -> None:
    async with connected(server.url + option) as connection:
        reader = connection.reader()
        read = asyncio.ensure_future(reader.read("BLPOP", "wake", "5"))
        await asyncio.sleep(0.02)
        await connection.command("RPUSH", "wake", "hint")
        assert await read == [b"wake", b"hint"]
        assert await reader.read("BLPOP", "wake", "0.02") is None
        assert await reader.read("XREAD", "BLOCK", "20", "STREAMS", "s", "$") is None
        await connection.command("XADD", "s", "1-1", "a", "1", "a", "2")
        await connection.command("EXPIRE", "s", "60")
        rows = await reader.read("XREAD", "COUNT", 4, "BLOCK", 20, b"STREAMS", "s", "0")
        assert rows == [[b"s", [[b"1-1", [b"a", b"1", b"a", b"2"]]]]]
        assert reader.epoch == 1


async def test_a_cancelled_read_costs_its_socket_and_no_reply(server: Server) -> None:
    async with connected(server.url) as connection:
        reader = connection.reader()
        for number in range(20):
            read = asyncio.ensure_future(reader.read("BLPOP", f"wake{number}", "5"))
            await asyncio.sleep(0.002)
            read.cancel()
            await asyncio.wait([read])
            assert read.cancelled()
        await connection.command("RPUSH", "last", "hint")
        assert await reader.read("BLPOP", "last", "1") == [b"last", b"hint"]
        assert reader.epoch > 1
        await reader.aclose()
        with pytest.raises(Unavailable):
            await reader.read("BLPOP", "last", "1")


async def test_a_reader_reads_one_thing_at_a_time(server: Server) -> None:
    async with connected(server.url) as connection:
        reader = connection.reader()
        read = asyncio.ensure_future(reader.read("BLPOP", "wake", "5"))
        await asyncio.sleep(0.01)
        with pytest.raises(ConfigError, match="one blocking read at a time"):
            await reader.read("BLPOP", "wake", "5")
        read.cancel()
        await asyncio.wait([read])


@pytest.mark.parametrize(
    ("args", "block_s"),
    [
        (("XREAD", "COUNT", "4", "BLOCK", "1000", "STREAMS", "block", "$"), 1.0),
        ((b"xread", b"BLOCK", 250, b"streams", b"a", b"b", b"$", b"$"), 0.25),
        (("XREAD", "STREAMS", "BLOCK", "0"), 0.0),
        (("BLPOP", "told", "wake", "1.5"), 1.5),
        (("GET", "k"), 0.0),
    ],
)
def test_how_long_a_command_blocks(args: tuple[Arg, ...], block_s: float) -> None:
    assert block_of(args) == block_s


@pytest.mark.parametrize(
    "args",
    [
        ("XREAD", "BLOCK", "0", "STREAMS", "a", "$"),
        ("XREAD", "BLOCK", "x", "STREAMS", "a", "$"),
        ("XREAD", "BLOCK", "5"),
        ("BLPOP", "told", "0"),
        ("BLPOP", "told", "86400"),
        ("BLPOP",),
    ],
)
def test_a_read_that_could_block_for_ever_is_refused(args: tuple[Arg, ...]) -> None:
    with pytest.raises(ConfigError):
        block_of(args)


def test_the_key_of_a_blocking_command_is_found() -> None:
    assert key_of(("XREAD", "BLOCK", "1", "STREAMS", "a{1}", "b{1}", "$", "$")) == b"a{1}"
    assert key_of((b"BLPOP", b"a", b"b", 1)) == b"a"
