"""The connection in good weather: calls, scripts, bodies, readers, life."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pyclient.connection import Backoff, Connection
from pyclient.errors import ConfigError, ScriptError, Unavailable
from pyclient.scripts import load_scripts
from tests.pyclient.connection_rig import COUNT, ECHO, REFUSE, Lua, connected
from tests.servers import Server, until

RESP = pytest.mark.parametrize("option", ["", "?protocol=3"], ids=["resp2", "resp3"])


@RESP
async def test_calls_answer_alike_in_both_protocols(server: Server, option: str) -> None:
    shapes = Lua(b"#!lua\nreturn {'OK', 7, ARGV[1], {'a', {}}, false, redis.sha1hex('')}")
    async with connected(server.url + option) as connection:
        reply = await connection.call(shapes, ["k"], [b"\x00\xff"])
    assert reply[:5] == [b"OK", 7, b"\x00\xff", [b"a", []], None]
    assert isinstance(reply[5], bytes)


async def test_a_script_is_loaded_once_for_all_callers_that_miss_it(server: Server) -> None:
    client = server.client()
    async with connected(server.url) as connection:
        client.config_resetstat()
        replies = await asyncio.gather(*(connection.call(ECHO, ["k"], [n]) for n in range(100)))
        assert replies == [[b"OK", b"%d" % n] for n in range(100)]
        assert loads(client) == 1
        client.script_flush()
        await asyncio.gather(*(connection.call(ECHO, ["k"], [n]) for n in range(100)))
        assert loads(client) == 2


async def test_flushes_all_the_time_hurt_nobody(server: Server) -> None:
    client = server.client()
    async with connected(server.url) as connection:
        for _ in range(200):
            calls = [asyncio.ensure_future(connection.call(ECHO, ["k"], ["x"])) for _ in range(5)]
            client.script_flush()
            assert await asyncio.gather(*calls) == [[b"OK", b"x"]] * 5


async def test_scripts_are_loaded_ahead(server: Server) -> None:
    client = server.client()
    client.script_flush()
    async with connected(server.url) as connection:
        await connection.load([ECHO, COUNT])
        assert client.script_exists(ECHO.sha, COUNT.sha) == [True, True]


async def test_a_script_of_the_project_answers(server: Server, queue_name: str) -> None:
    scripts = load_scripts()
    async with connected(server.url) as connection:
        await connection.load(scripts.values())
        reply = await connection.call(scripts["gauge"], [f"peak:{{{queue_name}}}:"], [])
        assert reply[0] == b"OK"
        with pytest.raises(ScriptError) as caught:
            await connection.call(scripts["fetch"], [f"peak:{{{queue_name}}}:"], ["no", "x" * 22])
        assert caught.value.code == "BADARG"


@pytest.mark.parametrize("code", ["BADARG", "BADMODE", "NEWER", "ERR", "WRONGTYPE"])
async def test_what_a_script_refuses_is_a_script_error(server: Server, code: str) -> None:
    async with connected(server.url) as connection:
        with pytest.raises(ScriptError) as caught:
            await connection.call(REFUSE, ["k"], [f"{code} limit: expected 1..64"])
        assert caught.value.code == code
        assert str(caught.value) == f"{code} limit: expected 1..64"
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]


async def test_a_script_that_does_not_compile_is_a_script_error(server: Server) -> None:
    async with connected(server.url) as connection:
        with pytest.raises(ScriptError):
            await connection.call(Lua(b"#!lua\nreturn ("), ["k"], [])


@pytest.mark.leaves_keys("body")
async def test_large_bodies_travel_beside_the_calls(server: Server) -> None:
    body = os.urandom(1 << 20) * 10
    async with connected(server.url) as connection:
        await connection.call(ECHO, ["k"], ["x"])
        transfer = asyncio.ensure_future(connection.command("SET", "body", body))
        for _ in range(20):
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        assert await transfer == b"OK"
        assert await connection.command("GET", "body") == body
        assert await connection.command("GET", "none") is None
        with pytest.raises(ScriptError):
            await connection.command("LPUSH", "body", "x")


async def test_no_io_before_open_and_none_after_aclose(server: Server) -> None:
    connection = Connection("unix:///nowhere/at/all")
    with pytest.raises(Unavailable) as caught:
        await connection.call(ECHO, ["k"], [])
    assert caught.value.code == "CLOSED"
    await connection.aclose()
    connection = Connection(server.url)
    await connection.open()
    await connection.open()
    await connection.aclose()
    await connection.aclose()
    with pytest.raises(Unavailable):
        await connection.call(ECHO, ["k"], ["x"])
    await connection.open()
    assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
    await connection.aclose()


async def test_aclose_fails_the_calls_in_flight_and_frees_the_sockets(server: Server) -> None:
    client = server.client()
    before = len(client.client_list())
    connection = Connection(server.url)
    await connection.open()
    reader = connection.reader()
    waiting: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(reader.read("BLPOP", "wake", "5")),
        asyncio.ensure_future(connection.command("BLPOP", "wake", "5")),
    ]
    await asyncio.sleep(0.02)
    await connection.aclose()
    for one in waiting:
        with pytest.raises(Unavailable):
            await one
    await asyncio.to_thread(until, lambda: len(client.client_list()) <= before)


def test_a_connection_serves_one_event_loop(server: Server) -> None:
    connection = Connection(server.url)
    caught: list[BaseException] = []

    async def elsewhere() -> None:
        try:
            await connection.call(ECHO, ["k"], ["x"])
        except ConfigError as error:
            caught.append(error)

    async def main() -> None:
        await connection.open()
        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        await connection.aclose()

    asyncio.run(main())
    assert "another event loop" in str(caught[0])
    asyncio.run(main())  # after aclose another loop may open it


FORK = """
import asyncio, os, sys
from pyclient.connection import Connection
from tests.pyclient.connection_rig import ECHO

async def child(connection):
    try:
        await connection.call(ECHO, ["k"], ["x"])
    except Exception as error:
        return f"{type(error).__name__} {error}"

async def main():
    connection = Connection(sys.argv[1])
    await connection.open()
    read, write = os.pipe()
    if os.fork() == 0:
        asyncio.events._set_running_loop(None)
        os.write(write, asyncio.new_event_loop().run_until_complete(child(connection)).encode())
        os._exit(0)
    print(os.read(read, 1000).decode(), await connection.call(ECHO, ["k"], ["x"]))
    await connection.aclose()

asyncio.run(main())
"""


def test_a_forked_child_is_told_to_open_its_own(server: Server) -> None:
    said = subprocess.run(
        [sys.executable, "-c", FORK, server.url], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("ConfigError this connection was opened before a fork")
    assert said.rstrip().endswith("[b'OK', b'x']")


def test_uvloop_works_too(server: Server) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with connected(server.url) as connection:
            replies = await asyncio.gather(*(connection.call(ECHO, ["k"], [n]) for n in range(300)))
            assert replies == [[b"OK", b"%d" % n] for n in range(300)]
            assert await connection.reader().read("BLPOP", "wake", "0.01") is None

    uvloop.run(main())


async def test_the_embedded_server_lives_as_long_as_its_connection() -> None:
    first, second = Connection("embedded://"), Connection("embedded://")
    await asyncio.gather(first.open(), second.open())
    await first.call(COUNT, ["k"], [])
    assert await first.call(COUNT, ["k"], []) == 2
    assert await second.call(COUNT, ["k"], []) == 1
    await asyncio.gather(first.aclose(), second.aclose())


def test_backoff_doubles_its_bound_up_to_a_cap() -> None:
    backoff = Backoff(base=0.05, cap=2.0)
    waits = [backoff.next() for _ in range(40)]
    for number, wait in enumerate(waits):
        assert 0 <= wait <= min(2.0, 0.05 * 2**number)
    assert max(waits) > 0.5
    backoff.reset()
    assert backoff.next() <= 0.05


def loads(client: Any) -> int:
    """How often SCRIPT LOAD ran since CONFIG RESETSTAT."""
    stats = client.info("commandstats")
    return int(stats.get("cmdstat_script|load", {}).get("calls", 0))


async def test_an_embedded_server_that_died_is_started_again() -> None:
    async with connected("embedded://", patience=5.0) as connection:
        assert await connection.call(COUNT, ["k"], []) == 1
        facts = await connection.command("INFO", "server")
        os.kill(int(facts.partition(b"process_id:")[2].split()[0]), signal.SIGKILL)
        await asyncio.sleep(0.1)
        assert await connection.call(COUNT, ["k"], []) == 1


@pytest.mark.parametrize("turns", [0, 1, 3, 30])
async def test_an_open_that_is_cancelled_leaves_no_server(turns: int) -> None:
    connection = Connection("embedded://")
    opening = asyncio.ensure_future(connection.open())
    for _ in range(turns):
        await asyncio.sleep(0.001)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()


SHARED = """
import asyncio, sys
from tests.pyclient.connection_rig import COUNT, connected

async def main(url):
    async with connected(url) as first, connected(url) as second:
        print(await first.call(COUNT, ["k"], []), await second.call(COUNT, ["k"], []))
    async with connected(url) as third:
        print(await third.call(COUNT, ["k"], []))

asyncio.run(main(sys.argv[1]))
"""


def test_an_embedded_directory_is_shared_and_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARED, f"embedded://{tmp_path}"]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout]
    said += [subprocess.run(command, capture_output=True, text=True, check=True).stdout]
    assert "".join(said).split() == ["1", "2", "3", "4", "5", "6"]
