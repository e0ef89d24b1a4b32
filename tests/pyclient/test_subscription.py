"""What is published on a channel: heard, and heard again after every loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pyclient import subscription as subscription_module
from pyclient.commands import Commands, scripts
from pyclient.connection import Connection, Subscription
from pyclient.errors import Unavailable
from pyclient.keys import Keys
from tests.pyclient.connection_rig import connected
from tests.servers import Server, redis_server
from tests.worker.rig import eventually

RESP = pytest.mark.parametrize("option", ["", "?protocol=3"], ids=["resp2", "resp3"])
CHANNEL = b"peak:{q}:given:x"


class Heard:
    """A subscription that runs, and what it said."""

    def __init__(self, connection: Connection) -> None:
        self.messages: list[bytes] = []
        self.changes: list[bool] = []
        self.subscription: Subscription = connection.subscription(
            CHANNEL, on_message=self._hear, on_change=self._changed
        )

    def _hear(self, message: bytes) -> None:
        if message == b"bad":
            raise ValueError("no sense")
        self.messages.append(message)

    def _changed(self) -> None:
        self.changes.append(self.subscription.active)


@contextlib.asynccontextmanager
async def listening(connection: Connection, *, active: bool = True) -> AsyncIterator[Heard]:
    """Listen while the block runs, from when it is `active`."""
    heard = Heard(connection)
    task = asyncio.create_task(heard.subscription.listen())
    try:
        if active:
            await eventually(lambda: heard.subscription.active)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not heard.subscription.active


async def ask(connection: Connection) -> None:
    """Any call."""
    await Commands(connection, scripts(), Keys("peak", "q")).gauge()


def publish(server: Any, *messages: bytes) -> list[int]:
    """How many heard each."""
    client = server.client()
    return [client.execute_command("SPUBLISH", CHANNEL, one) for one in messages]


def subscribers(server: Server) -> int:
    """How many sockets are subscribed now."""
    return len(server.client().client_list(_type="pubsub"))


@RESP
async def test_messages_arrive_in_order(server: Server, option: str) -> None:
    async with connected(server.url + option) as connection:
        async with listening(connection) as heard:
            sent = [b"%d" % n + b"\r\n\x00" * n for n in range(200)]
            assert publish(server, *sent) == [1] * 200
            await heard.subscription.settle()
            assert heard.messages == sent
            assert heard.changes == [True]
            await ask(connection)
        assert heard.changes == [True, False]
        await eventually(lambda: subscribers(server) == 0)
        assert publish(server, b"late") == [0]


@pytest.mark.needs_redis
@pytest.mark.once
@RESP
async def test_messages_of_a_redis_server_arrive(redis_debian: Server, option: str) -> None:
    async with connected(redis_debian.url + option) as connection, listening(connection) as heard:
        assert publish(redis_debian, b"1", b"x" * 300_000) == [1, 1]
        await heard.subscription.settle()
        assert heard.messages == [b"1", b"x" * 300_000]


@RESP
async def test_a_message_that_cannot_be_read_is_logged_and_dropped(
    server: Server, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(server.url + option) as connection, listening(connection) as heard:
        assert publish(server, b"1", b"bad", b"2") == [1, 1, 1]
        await heard.subscription.settle()
        assert heard.messages == [b"1", b"2"]
        assert heard.changes == [True]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "no sense" in caplog.text


@RESP
async def test_a_lost_socket_is_known_at_once_and_replaced(server: Server, option: str) -> None:
    async with connected(server.url + option) as connection, listening(connection) as heard:
        for number in range(3):
            server.client().client_kill_filter(_type="pubsub")
            expected = [True, *[False, True] * (number + 1)]
            await eventually(lambda e=expected: heard.changes == e, timeout=5)  # type: ignore[misc]
            assert publish(server, b"%d" % number) == [1]
            await heard.subscription.settle()
        assert heard.messages == [b"0", b"1", b"2"]
        assert subscribers(server) == 1


async def test_a_server_that_restarts_is_subscribed_to_again(server: Server) -> None:
    async with connected(server.url) as connection, listening(connection) as heard:
        server.kill()
        try:
            await eventually(lambda: heard.changes == [True, False], timeout=5)
            await heard.subscription.settle()  # nothing more can come
        finally:
            server.start()
        await eventually(lambda: heard.subscription.active, timeout=20)
        assert publish(server, b"1") == [1]
        await eventually(lambda: heard.messages == [b"1"])


async def test_a_server_that_does_not_answer_any_more_is_left(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "_PING_S", 0.1)
    monkeypatch.setattr(subscription_module, "_ANSWER_S", 0.3)
    async with connected(server.url) as connection, listening(connection) as heard:
        await asyncio.sleep(0.5)
        assert heard.changes == [True]
        with server.paused():
            await eventually(lambda: heard.changes == [True, False], timeout=5)
        await eventually(lambda: heard.subscription.active, timeout=20)
        with server.paused(), pytest.raises(Unavailable):
            await heard.subscription.settle()
        await eventually(lambda: heard.subscription.active, timeout=20)


async def test_a_new_link_for_calls_brings_a_new_subscription(server: Server) -> None:
    """It may be another server's: a replica tells what its primary publishes, uncounted."""
    async with connected(server.url) as connection, listening(connection) as heard:
        server.client().client_kill_filter(_type="normal", skipme=True)
        with contextlib.suppress(Unavailable):
            await ask(connection)
        await ask(connection)
        await eventually(lambda: heard.changes == [True, False, True], timeout=5)
        assert subscribers(server) == 1
        connection._switched("another one")
        await eventually(lambda: heard.changes == [True, False, True, False, True], timeout=5)
        assert subscribers(server) == 1


async def test_a_user_without_the_channel_is_no_reason_to_stop(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "_REFUSED_S", 0.3)
    client = server.client()
    rules = ("on", "nopass", "~*", "+@all", "resetchannels", "&other")
    client.execute_command("ACL", "SETUSER", "mute", *rules)
    try:
        async with connected(server.url.replace("://", "://mute:x@")) as connection:
            with caplog.at_level(logging.WARNING):
                async with listening(connection, active=False) as heard:
                    before = client.info("stats")["total_connections_received"]
                    await asyncio.sleep(1)
                    after = client.info("stats")["total_connections_received"]
                    assert after - before <= 4
                    assert heard.changes == []
                    await heard.subscription.settle()
                    client.execute_command("ACL", "SETUSER", "mute", "&peak:*")
                    await eventually(lambda: heard.subscription.active, timeout=10)
                    assert publish(server, b"1") == [1]
                    await eventually(lambda: heard.messages == [b"1"])
            assert [one.levelname for one in caplog.records] == ["WARNING"]
            assert "peakshaver acl" in caplog.text
    finally:
        client.execute_command("ACL", "DELUSER", "mute")


async def test_it_ends_with_its_connection(server: Server) -> None:
    connection = Connection(server.url)
    await connection.open()
    async with listening(connection) as heard:
        await connection.aclose()
        await eventually(lambda: heard.changes == [True, False], timeout=5)
        await eventually(lambda: subscribers(server) == 0)


async def test_it_can_be_cancelled_at_any_point(server: Server) -> None:
    async with connected(server.url) as connection:
        for number in range(40):
            heard = Heard(connection)
            task = asyncio.create_task(heard.subscription.listen())
            await asyncio.sleep(number * 0.0002)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert heard.changes in ([], [True, False])
        await eventually(lambda: subscribers(server) == 0)


async def test_settle_sees_all_that_was_published_before(server: Server) -> None:
    async with connected(server.url) as connection, listening(connection) as heard:
        for number in range(100):
            await connection.command("SPUBLISH", CHANNEL, b"%d" % number)
            await heard.subscription.settle()
            assert heard.messages[-1] == b"%d" % number


@pytest.mark.once
@pytest.mark.needs_redis
async def test_it_survives_a_client_that_is_cut_off_for_its_backlog() -> None:
    """Redis ends subscribers that do not keep up."""
    with redis_server(client_output_buffer_limit="pubsub 64kb 0 0") as server:
        async with connected(server.url) as connection, listening(connection) as heard:
            await connection.command("SPUBLISH", CHANNEL, b"x" * 1_000_000)
            await eventually(lambda: heard.changes == [True, False, True], timeout=5)
            assert publish(server, b"1") == [1]
            await eventually(lambda: heard.messages[-1:] == [b"1"])
