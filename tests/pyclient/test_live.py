"""Settings of a queue that runs, and the operator's verbs."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from pyclient import Queue
from pyclient.errors import ConfigError, QueueFull, ScriptError
from pyclient.live import apply_settings, settings_of
from tests.pyclient.client_rig import TinyWorker, served, waiting
from tests.servers import Server


def test_settings_have_the_names_of_the_contract() -> None:
    assert settings_of() == {}
    assert settings_of(
        limit=5,
        capacity=0,
        reserve=[0] * 9 + [3],
        lease=2.5,
        level_step=0.25,
        concurrency={"db": 2, "a/b": 0},
        room={"db": 7},
    ) == {
        "limit": 5,
        "capacity": 0,
        "reserve": "0,0,0,0,0,0,0,0,0,3",
        "lease_ms": 2500,
        "level_step_ms": 250,
        "concurrency db": 2,
        "concurrency a/b": 0,
        "room db": 7,
    }
    assert settings_of(level_step="strict") == {"level_step_ms": "strict"}


COUNTS: list[Any] = [-1, 1.5, True, "5", math.nan, 1j]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"limit": value} for value in COUNTS),
        *({"capacity": value} for value in COUNTS),
        *({"reserve": [0] * 9 + [value]} for value in COUNTS),
        *({"concurrency": {"db": value}} for value in COUNTS),
        *({"lease": value} for value in (0, -1, math.nan, math.inf, "5", True)),
        *({"level_step": value} for value in (-1, math.nan, math.inf, "5", True, 86_401, 1j)),
        {"room": {"a b": 1}},
        {"room": {5: 1}},
    ],
    ids=repr,
)
async def test_a_wrong_setting_is_an_error_before_anything_changes(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong)) if "room" not in wrong else "route"):
        await Queue.from_url("redis://127.0.0.1:1").configure(**wrong)


async def test_what_only_the_script_can_judge_it_refuses(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        for wrong in ({"reserve": [1, 2]}, {"reserve": [9] * 9 + [1]}, {"limit": 10**9}):
            with pytest.raises(ScriptError, match="BADARG"):
                await queue.configure(**wrong)
        with pytest.raises(ScriptError, match="BADARG reason"):
            await queue.pause("x" * 201)


async def test_settings_reach_both_queues_and_the_gauge(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure()
        await queue.configure(limit=5, slots=2, capacity=50, lease=3)
        pull, hold = [
            await (await queue._engine.commands(mode)).gauge() for mode in ("pull", "hold")
        ]
        assert (pull["limit"], pull["capacity"], pull["lease_ms"]) == (5, 50, 3000)
        assert (hold["limit"], hold["capacity"], hold["lease_ms"]) == (2, 50, 3000)
        assert (pull["mode"], hold["mode"]) == ("none", "hold")
        await queue.pause("soon back")
        gauge = await queue.gauge()
        assert (gauge["state"], gauge["reason"]) == ("paused", "soon back")
        await queue.resume()
        assert (await queue.gauge())["state"] == "open"


async def test_more_settings_than_one_call_takes(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(concurrency={f"route{n}": n + 1 for n in range(150)})
        conf = server.client().hkeys(queue.keys.base + b"conf")
        assert len(conf) == 151
        await queue.configure(concurrency={f"route{n}": 0 for n in range(150)})
        assert server.client().hkeys(queue.keys.base + b"conf") == [b"q"]


async def test_more_turns_than_one_call_gives_are_asked_for_again() -> None:
    class Configures:
        def __init__(self) -> None:
            self.sent: list[dict[str, Any]] = []

        async def configure(self, settings: dict[str, Any]) -> tuple[int, bool]:
            self.sent.append(settings)
            return 0, len(self.sent) in (1, 2)

    commands: Any = Configures()
    await apply_settings(commands, {"mode": "hold", "limit": 500})
    assert commands.sent == [{"mode": "hold", "limit": 500}] * 3


async def test_a_paused_queue_admits_and_a_resumed_one_serves(
    server: Server, queue_name: str
) -> None:
    async with served(server.url, queue_name) as (queue, worker):
        await queue.pause()
        call = asyncio.create_task(queue.call("r", 1))
        await waiting(queue, 1)
        await asyncio.sleep(0.1)
        assert worker.seen == []
        await queue.resume()
        assert await call == 1


async def test_a_reserve_keeps_room_for_the_urgent(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(capacity=10, reserve=[0, 0, 0, 5, 5, 5, 5, 5, 5, 5])
        calls = [asyncio.create_task(queue.call("r")) for _ in range(5)]
        await waiting(queue, 5)
        with pytest.raises(QueueFull):
            await queue.call("r", level=3)
        calls += [asyncio.create_task(queue.call("r", level=0)) for _ in range(5)]
        await waiting(queue, 10)
        async with TinyWorker(server.url, queue_name):
            await asyncio.gather(*calls)
