"""The state machine's second form: real clients, each call of theirs scheduled from a seed.

Submitters and holders are `pyclient.Queue`, workers are `worker_app`'s sessions, the server is a
real one. What they know of time, sockets, threads and chance comes from the seed, so the same seed
gives the same history, byte for byte. After each call the model explains it and the invariants are
asked; the ledger judges what the clients were told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from pyclient.scripts import Script

from .askers import submitter
from .invariants import left_over
from .ledger import Ledger
from .model import expect
from .nemesis import configure, nemesis, sweeper
from .network import Network
from .simdriver import SimDriver
from .simnode import simulated
from .simtime import SimLoop
from .weather import Weather
from .workers import worker
from .world import ATTEMPTS, World

STORM_S = 2.0
CALM_S = 120.0
STREAM_ID = re.compile(rb"\b1[0-9]{12}-[0-9]+")


@dataclass(slots=True)
class Outcome:
    """One run: what was sent and answered in which order, and what was seen on the way."""

    seed: int
    history: bytes
    calls: int
    seen: Counter[str]
    failure: BaseException | None = None


async def play(world: World) -> None:
    """A storm, then calm; in the end nothing is left."""
    net, rng = world.net, world.rng
    net.lease_s = rng.choice([1.0, 1.0, 2.0])
    configure(net, mode=world.mode, lease_ms=int(net.lease_s * 1000), limit=rng.choice([0, 2, 4]))
    if not world.fair and rng.random() < 0.8:
        net.weather, world.ledger.faulty = Weather.of(rng), True
    net.strict = not world.ledger.faulty
    actors = [submitter(world, f"g{n}") for n in range(rng.choice([1, 1, 2]))]
    actors += [sweeper(world), nemesis(world)]
    if world.mode == "pull":
        actors += [worker(world, f"w{n}") for n in range(rng.choice([1, 2, 2]))]
    tasks = [asyncio.create_task(actor) for actor in actors]
    for task in tasks:
        task.add_done_callback(lambda done: _raised(net, done))
    await asyncio.wait([net.over], timeout=STORM_S)
    world.storm = False
    await calm(world)
    ends = asyncio.gather(*tasks)
    await asyncio.wait([ends, net.over], timeout=CALM_S, return_when=asyncio.FIRST_COMPLETED)
    if net.failure is None:
        expect(ends.done(), "these actors do not end:", [t for t in tasks if not t.done()])
        await empty(world)


async def empty(world: World) -> None:
    """When the last copies have arrived, and whoever comes next has swept, nothing is left."""
    net = world.net
    await asyncio.sleep(4 * net.lease_s)
    for _ in range(20):
        net.guard(lambda: net.script("sweep", ()))
        if net.failure is not None or not net.driver.model.tasks:
            break
        await asyncio.sleep(net.lease_s)
    if net.failure is None:
        left = left_over(net.driver.snap)
        expect(not left, "left behind:", left, net.driver.history())


def _raised(net: Network, task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        error = task.exception()
        assert error is not None
        net.fail(error)


async def calm(world: World) -> None:
    """Everything is mended and open; whoever waits is answered, and the queue runs empty."""
    net = world.net
    net.down, net.weather = False, Weather()
    net.apart.clear()
    configure(net, state="open", limit=4, capacity=0, **{"concurrency r1": 2, "room r2": 0})
    until = net.loop.now + CALM_S
    while net.failure is None and (world.asking or net.driver.model.tasks):
        await asyncio.sleep(0.5 * net.lease_s)
        net.guard(lambda: net.script("sweep", ()))  # whoever comes next does it
        left = list(net.driver.model.tasks.values())
        expect(net.loop.now < until, "these never end:", left, list(world.asking))
    world.over, net.strict = True, False
    for _, session in world.sessions.values():
        session.stop()
    for node, queue in list(world.queues.values()):
        await node.start(queue.aclose())


class _Mistakes(logging.Handler):
    """A record of level ERROR is a mistake of the program."""

    def __init__(self, net: Network) -> None:
        super().__init__(logging.ERROR)
        self._net = net

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        if isinstance(cause, asyncio.CancelledError):
            return  # the gather of a process that was killed
        error = AssertionError(f"logged as an error: {record.getMessage()}")
        error.__cause__ = cause
        self._net.fail(error)


@contextlib.contextmanager
def quiet(net: Network) -> Iterator[None]:
    """Only mistakes are of interest, and they end the run."""
    loggers = [logging.getLogger(name) for name in ("pyclient", "worker_app", "asyncio")]
    before = [(one.level, one.propagate) for one in loggers]
    handler = _Mistakes(net)
    for one in loggers:
        one.addHandler(handler)
        one.setLevel(logging.ERROR)
        one.propagate = False
    try:
        yield
    finally:
        for one, (level, propagate) in zip(loggers, before, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)
            one.propagate = propagate


def run(
    seed: int,
    client: redis.Redis,
    scripts: Mapping[str, Script],
    mode: str = "",
    seen: Counter[str] | None = None,
    *,
    fair: bool = False,
) -> Outcome:
    """One seed, from an empty server to an empty server; `fair`: nothing goes wrong."""
    rng = random.Random(seed)
    mode = mode or ("hold" if seed % 4 == 3 else "pull")
    random.seed(seed)
    driver = SimDriver(client, scripts, seen)
    loop = SimLoop()
    net = Network(driver, loop, rng)
    net.holds = mode == "hold"
    world = World(net, Ledger(net, attempts=ATTEMPTS), rng, mode, fair=fair)
    with simulated(net), quiet(net):
        runner = asyncio.Runner(loop_factory=lambda: loop)
        try:
            runner.run(play(world))
        except Exception as error:
            net.fail(error)
        finally:
            with contextlib.suppress(Exception):
                runner.close()
            driver.close()
            with contextlib.suppress(redis.RedisError):
                client.flushall()
    history = STREAM_ID.sub(b"<id>", "\n".join(driver.log).encode("latin-1", "replace"))
    calls = sum(line.startswith("  -> ") for line in driver.log)
    return Outcome(seed, history, calls, driver.seen, net.failure)
