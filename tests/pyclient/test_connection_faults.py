"""The connection in bad weather: what surfaces, what it says, and how long it takes."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from pyclient.connection import Connection
from pyclient.errors import ScriptError, Unavailable
from tests.faultproxy import FaultProxy
from tests.pyclient.connection_rig import COUNT, ECHO, REFUSE, Lua, connected, unavailable
from tests.servers import Server, valkey

pytestmark = pytest.mark.faults
SPIN = Lua(b"#!lua flags=no-writes\nwhile true do end")


@pytest.mark.parametrize(
    "code",
    "READONLY LOADING CLUSTERDOWN MASTERDOWN TRYAGAIN BUSY OOM MISCONF NOREPLICAS MOVED ASK "
    "NOAUTH WRONGPASS NOPERM".split(),
)
async def test_error_codes_of_a_server_that_cannot_serve(server: Server, code: str) -> None:
    async with connected(server.url) as connection:
        with unavailable(code):
            await connection.call(REFUSE, ["k"], [f"{code} 7 in other words"])
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        assert connection.epoch == (2 if code in ("READONLY", "LOADING", "MASTERDOWN") else 1)


@pytest.mark.leaves_keys("k")
async def test_cut_before_the_server_saw_it(server: Server) -> None:
    async with FaultProxy(server.url) as proxy, connected(proxy.url) as connection:
        await connection.call(COUNT, ["k"], [])
        proxy.when(b"EVALSHA", "cut-before")
        with unavailable("", unknown=True):
            await connection.call(COUNT, ["k"], [])
        assert await connection.call(COUNT, ["k"], []) == 2


@pytest.mark.leaves_keys("k")
async def test_cut_after_the_server_ran_it(server: Server) -> None:
    async with FaultProxy(server.url) as proxy, connected(proxy.url) as connection:
        await connection.call(COUNT, ["k"], [])
        proxy.when(b"EVALSHA", "cut-after")
        with unavailable("", unknown=True):
            await connection.call(COUNT, ["k"], [])
        assert await connection.call(COUNT, ["k"], []) == 3, "sent twice, or not at all"


@pytest.mark.leaves_keys("k")
async def test_no_call_runs_twice_in_a_hundred_cuts(server: Server) -> None:
    acked = unknown = 0
    async with FaultProxy(server.url) as proxy, connected(proxy.url) as connection:
        for number in range(100):
            proxy.when(b"EVALSHA", "cut-after" if number % 2 else "cut-before")
            for _ in range(3):
                try:
                    await connection.call(COUNT, ["k"], [])
                    acked += 1
                except Unavailable as error:
                    unknown += error.unknown
    ran = int(server.client().get("k") or 0)
    assert unknown >= 100
    assert acked <= ran <= acked + unknown


async def test_a_reply_that_never_comes(server: Server) -> None:
    async with FaultProxy(server.url) as proxy, connected(proxy.url) as connection:
        await connection.call(ECHO, ["k"], ["x"])
        proxy.when(b"muted", "mute")
        begun = time.monotonic()
        with unavailable("TIMEOUT", unknown=True):
            await connection.call(ECHO, ["k"], ["muted"], timeout=1.2)
        assert time.monotonic() - begun < 1.5
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]


async def test_replies_of_a_slow_wire_never_meet_other_calls(server: Server) -> None:
    async def one(connection: Connection, number: int) -> None:
        text = b"%d" % number
        try:
            assert await connection.call(ECHO, ["k"], [text], timeout=1.05) == [b"OK", text]
        except Unavailable:
            failed.append(number)

    failed: list[int] = []
    late = iter([0.0, 0.0, 1.2] * 20)
    async with FaultProxy(server.url) as proxy, connected(proxy.url) as connection:
        await connection.call(ECHO, ["k"], ["x"])
        proxy.delay = lambda: next(late, 0.0)
        for start in range(0, 60, 20):
            await asyncio.gather(*(one(connection, start + n) for n in range(20)))
    assert failed, "no reply was late: the test shows nothing"


async def test_a_stopped_server_costs_no_call_more_than_its_deadline() -> None:
    with valkey() as server:
        async with connected(server.url) as connection:
            await connection.call(ECHO, ["k"], ["x"])
            with server.paused():
                begun = time.monotonic()
                with unavailable("TIMEOUT", unknown=True):
                    await connection.call(ECHO, ["k"], ["x"], timeout=1.2)
                with unavailable("TIMEOUT"):
                    await connection.call(ECHO, ["k"], ["x"], timeout=0.3)
                assert time.monotonic() - begun < 1.8
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]


async def test_a_restart_is_waited_for_within_patience() -> None:
    with valkey() as server:
        async with connected(server.url, patience=5.0) as connection:
            news: list[int] = []
            connection.on_reconnect(lambda: news.append(connection.epoch))
            await connection.call(ECHO, ["k"], ["x"])
            await asyncio.to_thread(server.stop)
            call = asyncio.ensure_future(connection.call(ECHO, ["k"], ["x"]))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.start)
            assert await call == [b"OK", b"x"]
            assert news == [2]


async def test_a_server_that_is_gone_is_told_soon_and_not_hammered() -> None:
    with valkey() as server:
        async with connected(server.url, patience=0.3) as connection:
            await asyncio.to_thread(server.stop)
            begun, failed = time.monotonic(), 0
            while time.monotonic() - begun < 1.5:
                with unavailable(""):
                    await connection.call(ECHO, ["k"], ["x"])
                failed += 1
            assert failed < 30
            await asyncio.to_thread(server.start)
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]


async def test_connections_are_not_retried_in_a_tight_loop(server: Server) -> None:
    async with FaultProxy(server.url) as proxy, connected(proxy.url) as connection:
        before, proxy.refusing = proxy.accepted, True
        proxy.cut_all()

        async def trying() -> None:
            while True:
                with contextlib.suppress(Unavailable):
                    await connection.call(ECHO, ["k"], ["x"])

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(trying() for _ in range(50))), 2)
        assert 2 < proxy.accepted - before < 20
        proxy.refusing = False
        until_served = time.monotonic() + 5
        while time.monotonic() < until_served:
            with contextlib.suppress(Unavailable):
                assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
                return
        pytest.fail("never came back")


async def test_killed_connections_come_back(server: Server) -> None:
    client = server.client()
    async with connected(server.url) as connection:
        reader = connection.reader()
        for _ in range(10):
            read = asyncio.ensure_future(reader.read("BLPOP", "wake", "5"))
            await connection.call(ECHO, ["k"], ["x"])
            await asyncio.sleep(0.01)
            client.client_kill_filter(_type="normal", skipme=True)
            with unavailable("", unknown=True):
                await read
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        assert connection.epoch == 11


async def test_a_reader_outlives_no_stopped_server() -> None:
    with valkey() as server:
        async with connected(server.url) as connection:
            reader = connection.reader()
            assert await reader.read("BLPOP", "wake", "0.01") is None
            with server.paused():
                begun = time.monotonic()
                with unavailable("TIMEOUT", unknown=True):
                    await reader.read("BLPOP", "wake", "0.2")
                assert time.monotonic() - begun < 1.6


async def test_a_script_that_holds_the_server(server: Server) -> None:
    server.client().config_set("busy-reply-threshold", 50)
    async with connected(server.url) as connection:
        await connection.load([ECHO, SPIN])
        holding = asyncio.ensure_future(connection.call(SPIN, ["k"], []))
        with unavailable("BUSY"):
            await Connection(server.url, patience=0.2).open()
        server.client().script_kill()
        with pytest.raises(ScriptError):
            await holding
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]


async def test_a_full_server_says_so_and_still_drains(server: Server) -> None:
    drain = Lua(b"#!lua flags=allow-oom\nredis.call('DEL', KEYS[1]) return {'OK'}")
    client = server.client()
    client.set("ballast", "x" * 1_000_000, px=60_000)
    async with connected(server.url) as connection:
        await connection.load([COUNT, drain])
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 100_000)
        with unavailable("OOM"):
            await connection.call(COUNT, ["k"], [])
        assert await connection.call(drain, ["ballast"], []) == [b"OK"]
        assert await connection.call(COUNT, ["k"], []) == 1
        await connection.command("DEL", "k")


async def test_a_replica_is_refused_until_it_is_a_primary_again(server: Server) -> None:
    client = server.client()
    async with connected(server.url) as connection:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            for _ in range(3):
                with unavailable("READONLY"):
                    await connection.call(COUNT, ["k"], [])
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
        assert await connection.call(COUNT, ["k"], []) == 1
        await connection.command("DEL", "k")


async def test_who_is_cancelled_takes_nobody_with_him(server: Server) -> None:
    """Loading and connecting are shared: the first to ask may be the first to leave."""
    async with FaultProxy(server.url) as proxy, connected(proxy.url) as connection:
        for fault in ("flush", "cut"):
            if fault == "flush":
                server.client().script_flush()
            else:
                proxy.cut_all()
                await asyncio.sleep(0.01)
            proxy.delay = lambda: 0.02
            calls = [asyncio.ensure_future(connection.call(ECHO, ["k"], [n])) for n in range(4)]
            await asyncio.sleep(0.03)
            for call in calls[:2]:
                call.cancel()
            await asyncio.wait(calls)
            assert [call.cancelled() for call in calls] == [True, True, False, False]
            assert [call.result() for call in calls[2:]] == [[b"OK", b"2"], [b"OK", b"3"]]
