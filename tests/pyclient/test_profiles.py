"""Wrong arguments: each a clear error, before anything is opened or sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import ConfigError, Unavailable
from tests.pyclient.client_rig import served
from tests.servers import Server

VALUES: dict[str, list[Any]] = {
    "timeout": [0, -1, math.nan, math.inf, "5", None, True, 10**400, 2_592_001, 1j],
    "level": [-1, 10, 1.0, True, "3", None, [], 10**400],
    "tenant": ["a b", "x" * 65, None, 5, b"t", "{}", []],
    "key": ["", "x" * 1025, 5, b"k", ["k"]],
}
WRONG = [(name, {name: value}) for name, values in VALUES.items() for value in values]


@pytest.mark.parametrize(("name", "options"), WRONG, ids=repr)
async def test_a_wrong_argument_is_an_error_before_anything_is_opened(
    name: str, options: dict[str, Any]
) -> None:
    queue = Queue.from_url("redis://127.0.0.1:1")
    uses: list[Callable[[], Any]] = [lambda: queue.call("r", **options)]
    uses.append(lambda: queue.submit("r", **options))
    if name != "key":
        uses.append(lambda: queue.submit_many("r", [1], **options))
    for use in uses:
        with pytest.raises(ConfigError, match=name) as caught:
            await use()
        assert len(str(caught.value)) < 250
    if name != "key":
        with pytest.raises(ConfigError, match=name):
            queue.slot("r", **options)


@pytest.mark.parametrize(
    "route", ["", "a b", "{x}", "a:b", "a*", "a|b", "a\0", 5, None, [], "x" * 65]
)
async def test_a_wrong_route_is_an_error(route: Any) -> None:
    queue = Queue.from_url("redis://127.0.0.1:1")
    with pytest.raises(ConfigError, match="route"):
        await queue.call(route)
    with pytest.raises(ConfigError, match="route"):
        await queue.exchange(route, b"", wait_ms=1, run_ms=1)


@pytest.mark.parametrize(
    "options",
    [
        {"wait_ms": 0},
        {"wait_ms": 1.5},
        {"run_ms": -1},
        {"run_ms": 2_592_000_001},
        {"due_ms": True},
        {"attempts": 0},
        {"attempts": 256},
        {"attempts": []},
    ],
    ids=repr,
)
async def test_wrong_times_of_an_exchange_are_errors(options: dict[str, Any]) -> None:
    queue = Queue.from_url("redis://127.0.0.1:1")
    with pytest.raises(ConfigError, match="expected an integer"):
        await queue.exchange("r", b"", **{"wait_ms": 1, "run_ms": 1, **options})


@pytest.mark.parametrize("keep", [-1, 604_801, math.nan, "5", None, True], ids=repr)
async def test_a_wrong_keep_is_an_error(keep: Any) -> None:
    with pytest.raises(ConfigError, match="keep"):
        await Queue.from_url("redis://127.0.0.1:1").submit("r", keep=keep)


async def test_a_decimal_will_do_as_a_time(server: Server, queue_name: str) -> None:
    async with served(server.url, queue_name) as (queue, _):
        assert await queue.call("r", 1, timeout=Decimal("2.5")) == 1  # type: ignore[arg-type]


def test_a_wrong_name_is_an_error_at_once() -> None:
    for wrong in ("", "a b", "{q}", "x" * 60, None):
        with pytest.raises(ConfigError, match="name"):
            Queue.from_url("redis://localhost", name=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="prefix"):
        Queue.from_url("redis://localhost", prefix="a:b")


async def test_unavailable_is_what_nobody_there_means() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(Unavailable):
        await Queue.from_url("redis://127.0.0.1:1").call("r", timeout=0.3)
    assert loop.time() - began < 0.55
