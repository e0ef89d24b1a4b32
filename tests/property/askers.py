"""Actors with a client: those who call and submit, and those who take a turn (hold mode)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pyclient.errors import PeakError
from pyclient.queue import Queue

from .simnode import Node
from .world import World

LONGEST_S = 20.0


def open_queue(world: World, name: str) -> tuple[Node, Queue]:
    """A new process with a client in it."""
    node = Node(world.net, name)
    queue = Queue(f"sim://{name}", "t", "peak")
    world.queues[name] = node, queue
    return node, queue


async def submitter(world: World, name: str) -> None:
    """Calls, submits, gives up, as long as the storm lasts; now and then it is killed."""
    node, queue = open_queue(world, name)
    made = 0
    while True:
        await world.sleep(0.25)
        if not world.storm:
            return
        if world.ledger.faulty and world.rng.random() < 0.03:
            world.asking -= node.tasks  # nobody will hear what they are told
            node.kill()
            del world.queues[node.name]
            node, queue = open_queue(world, f"{name}'{made}")
        for _ in range(world.rng.choice([1, 1, 2, 4])):
            made += 1
            ask(world, node, queue, f"{name}.{made}")


def ask(world: World, node: Node, queue: Queue, nonce: str) -> None:
    """One request of some kind; its answer is judged by the ledger."""
    rng = world.rng
    timeout = rng.choice([0.4, 1.5, 3.0, 3.0])
    level, route = rng.choice([0, 3, 3, 9]), rng.choice(["r0", "r1", "r2"])
    how = rng.choice(["quick"] * 5 + ["slow"] * 3 + ["raise", "retry", "later"])
    payload: dict[str, Any] = {"nonce": nonce, "how": how, "s": rng.expovariate(20)}
    kind = rng.choice(["call"] * 5 + ["given up"] * 2 + ["submit"] * 2 + ["same"])
    if world.mode == "hold":
        work = hold(world, queue, route, level, timeout, nonce)
    elif kind == "submit":
        work = submitted(world, queue, route, payload, level, timeout)
        timeout = LONGEST_S
    elif kind == "same":
        nonce = payload["nonce"] = "same"
        payload = {"nonce": "same", "how": "quick", "s": rng.choice([0.01, 0.01, 0.02])}
        work = queue.call(route, payload, level=level, timeout=timeout, key="one")
    else:
        work = queue.call(route, payload, level=level, timeout=timeout)
    task = node.start(world.ledger.asked(queue, node.name, work, nonce, timeout))
    world.watch(task)
    if kind == "given up":
        world.net.loop.call_later(rng.expovariate(3), task.cancel)


async def submitted(
    world: World, queue: Queue, route: str, payload: dict[str, Any], level: int, timeout: float
) -> Any:
    """Put it in line, come back for the answer."""
    ticket = await queue.submit(route, payload, level=level, timeout=timeout, keep=60)
    began = world.net.loop.now
    try:
        return await ticket.result(timeout=timeout)
    finally:
        world.ledger.in_time(ticket.id, world.net.loop.now - began, timeout)


async def hold(
    world: World, queue: Queue, route: str, level: int, timeout: float, nonce: str
) -> Any:
    """Take a turn; the time that it lasts does not count."""
    slot = queue.slot(route, level=level, timeout=timeout)
    lease = await slot.__aenter__()
    rest = world.rng.choice([0.01, 0.05, 0.05, 1.5 * world.net.lease_s])
    task = asyncio.create_task(held(world, slot, lease, rest, nonce))
    lease._task = task
    world.watch(task)
    return nonce, lease.id, lease.fence


async def held(world: World, slot: Any, lease: Any, rest: float, nonce: str) -> None:
    """Sit in the slot, then give it back."""
    try:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(slot)
            await asyncio.sleep(rest)
    except PeakError as error:
        world.net.seen[f"slot {type(error).__name__}"] += 1
        world.net.note(f"slot {lease.id} {nonce}: {error!r}")
        if not world.ledger.faulty:
            world.ledger.wrong(f"nothing went wrong, and yet: {error!r}")
