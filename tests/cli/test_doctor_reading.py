"""How doctor reads a queue: what is too long for one look, and a clock that was set back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import redis

from pyclient.cli.audit.invariants import find
from pyclient.cli.audit.reading import Bounds, Reader
from pyclient.connection import Connection
from tests.servers import Server

from .orders import WAITING, P, doctor, findings

# The queue of the tests has five tasks.
TIGHT = partial(Reader, bounds=Bounds(small=1, most=4))


async def test_what_is_too_long_is_left_out_and_what_is_long_is_read_in_pieces(
    server: Server, orders: redis.Redis
) -> None:
    conn = Connection(server.url)
    await conn.open()
    try:
        whole = await Reader(conn, P.encode()).read()
        tight = await TIGHT(conn, P.encode()).read()
        in_pieces = await Reader(conn, P.encode(), Bounds(small=1)).read()
    finally:
        await conn.aclose()
    assert (whole.left_out, whole.pieces, whole.slack) == ([], [], 0)
    assert tight.left_out == ["tasks"]
    assert "tasks" not in tight.hashes
    assert (in_pieces.left_out, in_pieces.slack) == ([], 0)
    assert "tasks" in in_pieces.pieces
    assert in_pieces.content() == whole.content()
    assert in_pieces.heads.keys() >= {"3"}
    assert in_pieces.head("3") == whole.head("3") == int(whole.zset("wait:3")[WAITING])


def test_a_queue_too_long_to_be_looked_at_is_told_so(
    server: Server, orders: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyclient.cli.doctor.queues.Reader", TIGHT)
    (told,) = findings(doctor(server, "--json"))["invariants"]
    assert (told["state"], told["fix"]) == ("warning", "ask again when less waits")
    assert told["text"] == "queue 'orders': tasks too long to be looked at in full"


@pytest.mark.parametrize("bounds", [Bounds(small=most, most=most) for most in (0, 1, 2, 3, 4)])
async def test_what_is_left_out_is_no_fault_of_the_rest(
    server: Server, orders: redis.Redis, bounds: Bounds
) -> None:
    conn = Connection(server.url)
    await conn.open()
    try:
        snap = await Reader(conn, P.encode(), bounds).read()
    finally:
        await conn.aclose()
    assert snap.left_out
    assert find(snap) == []


def test_a_clock_that_was_set_back_is_told(server: Server, orders: redis.Redis) -> None:
    clock = orders.get(P + "clock")
    assert isinstance(clock, bytes)
    tick = int.from_bytes(clock[1:8]) + 90_000_000
    orders.set(P + "clock", clock[:1] + tick.to_bytes(7) + clock[8:])
    told: list[dict[str, Any]] = findings(doctor(server, "--json"))["ticks"]
    assert [one["state"] for one in told] == ["warning"]
    assert "'orders' is 89." in told[0]["text"] or "'orders' is 90." in told[0]["text"]
    assert "the server's clock was set back" in told[0]["text"]
