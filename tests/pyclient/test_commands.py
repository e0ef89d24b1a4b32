"""One method a script: arguments in the order of its header, replies as small tuples."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pyclient.commands import Commands, OldCallError, scripts
from pyclient.errors import ScriptError
from pyclient.keys import Keys, new_task_id
from pyclient.model import Admitted, Bucket, Profile, Verdict
from tests.pyclient.connection_rig import connected
from tests.servers import Server

PLAIN = Profile(3, "r", "t", 60_000, 60_000, 0, 2, 0)
RESP = pytest.mark.parametrize("option", ["", "?protocol=3"], ids=["resp2", "resp3"])


@asynccontextmanager
async def commands(url: str, name: str) -> AsyncIterator[Commands]:
    """The scripts over a connection of their own."""
    async with connected(url) as conn:
        yield Commands(conn, scripts(), Keys("peak", name))


async def admit(on: Commands, number: int, *ids: str, profile: Profile = PLAIN) -> Admitted:
    tasks = [(1, one, b"mbody") for one in ids]
    return await on.admit("me", number, "pull", b"0", [], [profile], tasks)


@RESP
async def test_a_task_goes_all_the_way(server: Server, queue_name: str, option: str) -> None:
    async with commands(server.url + option, queue_name) as on:
        fresh = await on.attach("me")
        assert (fresh.fresh, fresh.lease_ms, fresh.values) == (True, 15_000, [])
        assert re.fullmatch(rb"\d+-\d+", fresh.last_id)
        one, two = new_task_id(), new_task_id()
        reply = await admit(on, 1, one, two)
        assert reply.words == ["OK", "OK"]
        assert (reply.more, reply.grants) == (False, [])
        assert reply.next_ms > 0
        assert await on.fetch("position", [one, two, "x" * 22]) == [b"0", b"1", b"gone"]
        claimed = await on.claim("w", 1, 1, 9)
        (task,) = claimed.tasks
        assert (task.id, task.attempt, task.level) == (one, 1, 3)
        assert (task.route, task.tenant, task.body) == ("r", "t", b"mbody")
        assert 59_000 < task.hard_left_ms <= 60_000
        assert (await on.renew("w", [(one, task.fence), (two, 5)])).words == ["OK", "LOST"]
        published = await on.publish("w", 2, 1, 9, [(one, task.fence, "done", b"m\x01")])
        assert published.words == ["OK"]
        assert [task.id for task in published.tasks] == [two]
        assert published.grants == []
        back = [(two, published.tasks[0].fence, 0, True, "é" * 600 + "\ud800")]
        assert (await on.retry("w", 3, back)).words == ["WAITING"]
        told, grants = await on.cancel("me", 0, "cancelled", [two, one])
        assert (told.words, grants) == (["CANCELLED", "GONE"], [])
        assert await on.sweep() == (0, False)
        gauge = await on.gauge()
        assert (gauge["done"], gauge["cancelled"], gauge["mode"]) == (1, 1, "pull")
        assert gauge["levels"] == [0] * 10
        assert gauge["routes"]["r"] == {"living": 0, "running": 0, "parked": ""}


@RESP
async def test_turns_are_granted_in_hold_mode(server: Server, queue_name: str, option: str) -> None:
    async with commands(server.url + option, queue_name) as on:
        await on.attach("me")
        assert await on.configure({"mode": "hold", "limit": 1}) == (0, False)
        one, two = new_task_id(), new_task_id()
        tasks = [(1, one, b""), (1, two, b"")]
        reply = await on.admit("me", 1, "hold", b"0", [], [PLAIN], tasks)
        (grant,) = reply.grants
        assert grant.id == one
        ended = await on.publish("me", 2, 0, 9, [(one, grant.fence, "done", b"")], hold=True)
        assert [grant.id for grant in ended.grants] == [two]
        assert ended.tasks == []
        told, _ = await on.cancel("me", 3, "expired", [two])
        assert told.words == ["CANCELLED"]


async def test_buckets_places_and_dead_letters(server: Server, queue_name: str) -> None:
    async with commands(server.url, queue_name) as on:
        await on.attach("me")
        bucket = Bucket("b", 1, 1_000_000, 5)
        assert await on.limit([(bucket, 2)]) == [Verdict(True, 3, 0.0)]
        (verdict,) = await on.limit([(bucket, 4)])
        assert not verdict.allowed
        assert verdict.retry_after == pytest.approx(1, abs=0.2)
        assert await on.limit([(bucket, 6)]) == [Verdict(False, 3, None)]
        one = new_task_id()
        taking = PLAIN._replace(options="take=1:3")
        reply = await on.admit("me", 9, "pull", b"0", [bucket], [taking], [(1, one, b"")])
        assert reply.words == ["OK"]
        assert await on.limit([(bucket, 0)]) == [Verdict(True, 0, 0.0)]
        await on.cancel("me", 0, "cancelled", [one])
        place = new_task_id()
        next_ms, word = await on.place("me", 10, "pull", "take", place, "r", 3)
        assert (next_ms > 0, word) == (True, "OK")
        assert (await on.place("me", 11, "pull", "leave", place, "r", 3))[1] == "OK"
        assert (await on.revive([(place, new_task_id())])).words == ["GONE"]


async def test_a_number_from_the_past_is_an_error(server: Server, queue_name: str) -> None:
    async with commands(server.url, queue_name) as on:
        await on.attach("me")
        one = new_task_id()
        await admit(on, 5, one)
        assert (await admit(on, 5, one)).words == ["OK"], "the same number, the same answer"
        with pytest.raises(OldCallError, match="nothing was done"):
            await admit(on, 4, new_task_id())
        await on.cancel("me", 0, "cancelled", [one])


async def test_what_a_script_refuses_is_a_script_error(server: Server, queue_name: str) -> None:
    async with commands(server.url, queue_name) as on:
        calls: list[tuple[Any, str]] = [
            (on.claim("w", 1, 65, 9), "limit"),
            (on.claim("{}", 1, 1, 9), "caller"),
            (on.fetch("x", ["y" * 22]), "what"),
            (on.fetch("state", ["y"]), "id"),
            (on.configure({"limit": "0x10"}), "limit"),
            (on.configure({"limit": "9" * 17}), "limit"),
        ]
        for call, argument in calls:
            with pytest.raises(ScriptError, match=f"BADARG {argument}") as caught:
                await call
            assert caught.value.code == "BADARG"


def test_the_bundles_are_read_once() -> None:
    assert scripts() is scripts()
