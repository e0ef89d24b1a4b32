"""Actors that serve: `worker_app` as it is, in virtual time, killed and stopped at random."""

from __future__ import annotations

import asyncio
from typing import Any

from pyclient.keys import Keys
from worker_app.context import Context, Retry
from worker_app.routes import Route, make_route
from worker_app.session import Session

from .simnode import Node
from .world import ATTEMPTS, World


def handlers(world: World) -> dict[str, Route]:
    """Three routes that do what their payload says; r2 is known to some workers only."""

    async def handler(payload: dict[str, Any], context: Context) -> Any:
        world.ledger.began(context)
        how = payload["how"]
        await asyncio.sleep(1.5 * world.net.lease_s if how == "slow" else payload["s"])
        if how == "raise":
            raise ValueError("as it was told")
        if how in ("retry", "later") and context.attempt < world.rng.randint(2, 4):
            raise Retry(delay=0.0 if how == "retry" else 0.3)
        return [payload["nonce"], context.id, context.fence]

    cap = world.rng.choice([None, 1, 2])
    return {
        name: make_route(
            name,
            handler,
            kind=None,
            concurrency=cap if name == "r1" else None,
            room=None,
            attempts=ATTEMPTS,
            timeout=4.0,
            retry_on=(),
            raw=False,
        )
        for name in ("r0", "r1", "r2")
    }


async def worker(world: World, name: str) -> None:
    """Serves; is killed, or stops and comes back."""
    rng, lives = world.rng, 0
    known = handlers(world)
    if name == "w1":
        del known["r2"]
    while not world.over:
        lives += 1
        node = Node(world.net, f"{name}'{lives}")
        top = 3 if name == "w1" and world.storm else 9
        session = Session(
            f"sim://{node.name}",
            Keys("peak", "t"),
            known if world.storm else handlers(world),
            state=None,
            concurrency=rng.choice([1, 2, 4]),
            processes=1,
            max_level=top,
            drain_timeout=1.0,
        )
        world.sessions[name] = node, session
        running = node.start(session.run())
        while world.storm and not running.done():
            await world.sleep(1.0)
            if rng.random() < 0.7:
                break
        if not world.storm:  # one that serves everything until the end
            await running
            return
        if world.ledger.faulty and rng.random() < 0.7:
            node.kill()
        else:
            session.stop()
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()
