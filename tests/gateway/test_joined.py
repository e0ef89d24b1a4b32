"""What is written to a client in one turn goes out as one."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway_app.joined import Joined


class Wire:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def made() -> tuple[Joined, Wire]:
    wire = Wire()
    return Joined(cast(asyncio.Transport, wire), asyncio.get_running_loop()), wire


async def test_writes_of_one_turn_are_one_write_at_its_end() -> None:
    joined, wire = made()
    for part in (b"head", b"", b"body"):
        joined.write(part)
    assert wire.writes == []
    await asyncio.sleep(0)
    joined.write(b"next")
    await asyncio.sleep(0)
    assert wire.writes == [b"headbody", b"next"]


async def test_much_is_not_held_back() -> None:
    joined, wire = made()
    joined.write(b"head")
    joined.write(b"x" * 70_000)
    assert [len(data) for data in wire.writes] == [70_004]
    joined.write(b"more")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.writes[1:] == [b"more"]


async def test_close_sends_what_is_held_first() -> None:
    joined, wire = made()
    joined.write(b"last words")
    joined.close()
    assert (wire.writes, wire.ended) == ([b"last words"], "closed")
    await asyncio.sleep(0)
    assert len(wire.writes) == 1


async def test_abort_sends_nothing() -> None:
    joined, wire = made()
    joined.write(b"half an answer")
    joined.abort()
    await asyncio.sleep(0)
    assert (wire.writes, wire.ended) == ([], "aborted")


async def test_all_else_is_the_transports_own() -> None:
    joined: Any = made()[0]
    assert joined.get_extra_info("peername") == "the peername"
    with pytest.raises(AttributeError):
        _ = joined.nonsense
