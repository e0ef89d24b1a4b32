"""What stands for sockets and threads in a simulation: the rest of a client is the product's own.

`Connection`, `Reader` and `Keeper` here have the methods that the product calls on theirs. A
process is a *node*: its name is in the address (`sim://w1`), it can be killed and cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pyclient.engine
import pyclient.keys
import worker_app.context
import worker_app.desk
import worker_app.leases
import worker_app.loop
import worker_app.session
from pyclient.blocking import block_of
from pyclient.errors import PeakError, Unavailable
from pyclient.keeper import Job

from .driver import encode
from .network import NUMBERED, UNNUMBERED, Link, Network
from .simears import SimSubscription, suffix
from .simtime import NODE, Clock
from .snapshot import text

NET: list[Network] = []
ID_LENGTH = 22


class Node:
    """One process with everything it has open."""

    def __init__(self, net: Network, name: str) -> None:
        self.net = net
        self.name = name
        self.links: list[Link] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        net_nodes(net)[name] = self

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine in this process."""
        token = NODE.set(self.tasks)
        try:
            return asyncio.create_task(work, name=self.name)
        finally:
            NODE.reset(token)

    def link(self, what: str) -> Link:
        """A new socket."""
        link = Link(self.net, f"{self.name}/{what}")
        self.links.append(link)
        return link

    def cut(self) -> None:
        """All its sockets break."""
        for link in self.links:
            link.cut()

    def kill(self) -> None:
        """kill -9: nothing it does from now on reaches anybody."""
        self.net.note(f"{self.name} killed")
        for link in self.links:
            link.die()
        for task in list(self.tasks):
            task.cancel()


def net_nodes(net: Network) -> dict[str, Node]:
    """All nodes of a network, by name."""
    nodes: dict[str, Node] = net.__dict__.setdefault("nodes", {})
    return nodes


class SimConnection:
    """As pyclient.connection.Connection."""

    replicas = 0

    def __init__(self, url: str, *, client_name: str = "") -> None:
        self._net = NET[-1]
        self._node = net_nodes(self._net)[url.removeprefix("sim://")]
        self._link = self._node.link(client_name)
        self._link.on_cut = self._was_cut
        self._readers: list[SimReader] = []
        self._callbacks: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Opening costs nothing here."""

    async def aclose(self) -> None:
        """Close all sockets."""
        for reader in self._readers:
            await reader.aclose()
        self._link.cut()

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call back after each cut."""
        self._callbacks.append(callback)

    def _was_cut(self) -> None:
        for callback in self._callbacks:
            self._net.loop.call_later(0.001, callback)

    async def call(self, script: Any, keys: Any, args: Any, *, timeout: float = 5.0) -> Any:
        """One script call."""
        verb, sent = str(script.name), tuple(args)
        ids = [arg for arg in sent if isinstance(arg, str) and len(arg) == ID_LENGTH]
        copy = verb in UNNUMBERED or (verb in NUMBERED and int(sent[1]) > 0)
        return await self._link.send(
            lambda: self._net.script(verb, sent), what=verb, timeout=timeout, copy=copy, ids=ids
        )

    async def command(self, *args: Any, timeout: float = 5.0) -> Any:
        """One plain command."""
        verb = text(args[0])
        words = (verb, suffix(args[1]), *(encode(a) for a in args[2:]))
        return await self._link.send(lambda: self._net.plain(words), what=verb, timeout=timeout)

    def reader(self) -> SimReader:
        """A socket for blocking reads."""
        reader = SimReader(self._net, self._node.link(f"r{len(self._readers)}"))
        self._readers.append(reader)
        return reader

    def subscription(self, channel: bytes, **told: Any) -> SimSubscription:
        """A socket that hears what is published."""
        return SimSubscription(self._net, self._node.link("ear"), channel, **told)


class SimReader:
    """As pyclient.blocking.Reader: XREAD and BLPOP wait at the server, XTRIM does not."""

    def __init__(self, net: Network, link: Link) -> None:
        self._net = net
        self._link = link
        self._closed = False

    async def aclose(self) -> None:
        """Close the socket; a read in progress fails."""
        self._closed = True
        self._link.cut()

    async def read(self, *args: Any) -> Any:
        """One read. Raises Unavailable when the link is cut."""
        if self._closed:
            raise Unavailable("the reader was closed", code="CLOSED")
        verb, block_s = text(args[0]), block_of(args)
        if verb == "XTRIM":
            words = ("XTRIM", suffix(args[1]), *args[2:])
            return await self._link.send(lambda: self._net.plain(words), what=verb, timeout=1.0)
        served = self._link.await_push()
        at_server = self._link.send(
            lambda: self._arrived(verb, args, block_s, served), what=verb, timeout=1.0
        )
        try:
            await asyncio.wait([at_server, served], return_when=asyncio.FIRST_COMPLETED)
            if not served.done():
                at_server.result()  # raises where the link was cut
            return await served
        except BaseException:
            self._link.cut()
            raise

    def _arrived(self, verb: str, args: tuple[Any, ...], block_s: float, served: Any) -> None:
        take = self._stream(args) if verb == "XREAD" else self._pop(args)
        net = self._net

        def look() -> bool:
            if served.done() or self._link.dead:  # the server notices when a socket is closed
                return True
            found = take()
            if found is not None:
                net.note(f"{self._link.name} {verb} gives {found!r}")
                delay = net.rng.expovariate(1 / net.weather.delay)
                net.loop.call_at(net.loop.now + delay, self._link.answer, served, found)
            return found is not None

        if look():
            return
        if verb == "XREAD" and not block_s:
            net.loop.call_soon(self._link.answer, served, None)
            return
        undo = net.block(look)

        def over() -> None:
            undo()
            self._link.answer(served, None)

        timer = net.loop.call_later(block_s, over)
        served.add_done_callback(lambda _: timer.cancel())

    def _stream(self, args: tuple[Any, ...]) -> Callable[[], Any]:
        key, last = suffix(args[-2]), text(args[-1])
        count, caller = int(args[2]), key.removeprefix("inbox:")

        def take() -> Any:
            found = self._net.entries(caller, last)[:count]
            return [[key.encode(), found]] if found else None

        return take

    def _pop(self, args: tuple[Any, ...]) -> Callable[[], Any]:
        def take() -> Any:
            for key in args[1:-1]:
                if suffix(key) in self._net.driver.snap.lists:
                    return [key, self._net.plain(("LPOP", suffix(key)))]
            return None

        return take


class SimKeeper:
    """As pyclient.keeper.Keeper; its thread is a few tasks of the same loop."""

    def __init__(self, url: str) -> None:
        self._conn: Any = SimConnection(url, client_name="keeper")
        self._jobs: dict[Job, asyncio.Task[None]] = {}

    def add(self, job: Job) -> None:
        """Run `job` now and whenever it asks for."""
        if job not in self._jobs:
            self._jobs[job] = asyncio.get_running_loop().create_task(self._repeat(job))

    def remove(self, job: Job) -> None:
        """End a job."""
        task = self._jobs.pop(job, None)
        if task is not None:
            task.cancel()

    def soon(self, job: Job) -> None:
        """Run a job now."""
        self.remove(job)
        self.add(job)

    def stop(self) -> None:
        """End all."""
        for job in list(self._jobs):
            self.remove(job)

    async def _repeat(self, job: Job) -> None:
        pause: float | None = 0.0
        while pause is not None:
            try:
                pause = await job(self._conn)
            except PeakError:
                pause = 0.5
            await asyncio.sleep(pause or 0.0)


class Secrets:
    """Stands for the module `secrets`: ids from the seed."""

    def token_urlsafe(self, size: int) -> str:
        """As many characters as there would be."""
        rng = NET[-1].rng
        alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
        return "".join(rng.choices(alphabet, k=(size * 8 + 5) // 6))


class Ids:
    """Stands for the ids that are made ahead."""

    def pop(self) -> str:
        """One from the seed."""
        return Secrets().token_urlsafe(16)


@contextlib.contextmanager
def simulated(net: Network) -> Iterator[None]:
    """While this lasts, clients that are made connect to `net` and know only its time."""
    clock = Clock(net.loop)
    NET.append(net)
    with contextlib.ExitStack() as stack:
        for module in (pyclient.engine, worker_app.session):
            stack.enter_context(mock.patch.object(module, "Connection", SimConnection))
            stack.enter_context(mock.patch.object(module, "Keeper", SimKeeper))
        for timed in (
            worker_app.context,
            worker_app.desk,
            worker_app.leases,
            worker_app.loop,
            worker_app.session,
        ):
            stack.enter_context(mock.patch.object(timed, "time", clock))
        stack.enter_context(mock.patch.object(pyclient.keys, "secrets", Secrets()))
        stack.enter_context(mock.patch.object(pyclient.keys, "_ids", Ids()))
        try:
            yield
        finally:
            NET.pop()
