"""Whose client is looked at, and when it counts as gone (A32)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from starlette.requests import Request

from .rig import until
from .seed import Departure, request_of


class Client:
    """Sends the messages of a client one by one, as the test says."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        self.request = Request(scope, self.messages.get)

    def sends(self, body: bytes, *, more: bool = False) -> None:
        self.messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leaves(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})


def deeper(levels: int, call: Callable[[FrameType], Any]) -> Any:
    """What `call` says of a frame that stands so many calls further in."""
    return deeper(levels - 1, call) if levels else call(sys._getframe())


def test_the_request_is_found_in_a_caller() -> None:
    mine = Request({"type": "http"})

    def handler(request: object) -> Any:
        return deeper(3, request_of)

    assert handler(mine) is mine
    assert handler("something else of that name") is None


def test_it_is_looked_for_in_some_callers_and_not_in_all() -> None:
    request = Request({"type": "http"})
    assert deeper(30, request_of) is request
    assert deeper(60, request_of) is None
    assert request_of(None) is None


def test_without_starlette_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request({"type": "http"})
    assert request_of(sys._getframe()) is request
    monkeypatch.delitem(sys.modules, "starlette.requests")
    assert request_of(sys._getframe()) is None


async def test_of_no_request_nobody_ever_leaves() -> None:
    departure = Departure(None)
    assert departure.begin() is None
    await departure.end()


async def test_a_client_that_leaves_ends_the_look_out() -> None:
    client = Client()
    client.sends(b"form")
    departure = Departure(client.request)
    gone = departure.begin()
    assert gone is not None
    assert departure.begin() is gone
    await until(client.messages.empty, what="a look at the body")
    await asyncio.sleep(0)
    assert not gone.done(), "a body is no departure"
    client.leaves()
    await asyncio.wait_for(gone, 10)
    await departure.end()
    assert await client.request.body() == b"form"


async def test_after_the_look_out_the_handler_reads_the_whole_body() -> None:
    client = Client()
    client.sends(b"one ", more=True)
    departure = Departure(client.request)
    gone = departure.begin()
    await until(client.messages.empty, what="a look at the first part")
    await departure.end()
    assert gone is not None
    assert gone.cancelled()
    client.sends(b"two")
    assert await client.request.body() == b"one two"
