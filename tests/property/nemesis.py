"""What goes wrong on purpose: cuts, partitions, outages, forgotten scripts, limits that move."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from pyclient.errors import PeakError

from .network import Network
from .simnode import Node, SimConnection
from .world import World


async def sweeper(world: World) -> None:
    """A tool that only sweeps."""
    conn = SimConnection(f"sim://{Node(world.net, 's').name}", client_name="tool")
    while world.storm:
        await world.sleep(1.0)
        with contextlib.suppress(PeakError):
            await conn.call(world.net.driver.scripts["sweep"], (), ())


async def nemesis(world: World) -> None:
    """Cuts, partitions, outages, forgotten scripts, limits that move; at random times."""
    net, rng = world.net, world.rng
    ways: list[Callable[[], Awaitable[None]]] = [
        lambda: cut_one(world),
        lambda: cut_one(world),
        lambda: partition(world),
        lambda: partition(world),
        lambda: outage(world),
        lambda: outage(world),
        lambda: forget(net),
        lambda: move_limits(world),
        lambda: move_limits(world),
        lambda: pause(world),
    ]
    while world.storm:
        await world.sleep(0.6)
        await rng.choice(ways)()


async def cut_one(world: World) -> None:
    """All sockets of one process break."""
    if world.ledger.faulty:
        world.rng.choice(world.nodes()).cut()


async def partition(world: World) -> None:
    """One process does not reach Redis for a while."""
    if world.ledger.faulty:
        world.net.isolate(world.rng.choice(world.nodes()).name)


async def outage(world: World) -> None:
    """Nobody reaches Redis for a while."""
    if world.ledger.faulty:
        net = world.net
        net.note("Redis is away")
        net.down = True
        await asyncio.sleep(world.rng.choice([0.3, 0.8, 1.6]) * net.lease_s)
        net.down = False
        net.seen["outage"] += 1


async def forget(net: Network) -> None:
    """SCRIPT FLUSH."""
    net.guard(net.driver.client.script_flush)


async def move_limits(world: World) -> None:
    """The limits change while work is under way."""
    rng = world.rng
    settings = {
        "limit": rng.choice([0, 1, 2, 4]),
        "capacity": rng.choice([0, 2, 5]),
        "concurrency r1": rng.choice([0, 1, 2]),
        "room r2": rng.choice([0, 3]),
        "level_step_ms": rng.choice(["strict", 0, 500]),
    }
    name = rng.choice(list(settings))
    configure(world.net, **{name: settings[name]})


async def pause(world: World) -> None:
    """The queue is paused and goes on."""
    configure(world.net, state="paused", reason="lunch")
    await asyncio.sleep(0.5)
    configure(world.net, state="open", reason="")


def configure(net: Network, **settings: Any) -> None:
    """An operator at the server itself."""
    flat = [part for pair in settings.items() for part in pair]
    net.guard(lambda: net.script("configure", tuple(flat)))
