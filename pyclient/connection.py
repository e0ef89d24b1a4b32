"""The one seam between peakshaver and Redis: script calls, plain commands, blocking reads.

Nothing is sent twice on its own account, except what is known not to have run: NOSCRIPT, and
in a Cluster MOVED and ASK. Everything else surfaces; a lost reply as Unavailable(unknown=True).

**Invariant.** Replies are matched by order on one socket, so no caller, cancelled or late, ever
takes part in reading: see `link.py`.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from .address import Address, Endpoint, parse
from .blocking import Reader
from .errors import ConfigError, Unavailable
from .link import DEFAULT_LIMITS, Arg, Limits, Link
from .replies import STALE_CODES, code_of, error_of, is_error
from .topology import Fixed, Sentinels, Topology
from .wire import Wire, closed

_HOPS = 6
_LOAD_S = 5.0


class Loadable(Protocol):
    """A script: `scripts.Script` is one."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> str: ...
    @property
    def text(self) -> bytes: ...


class Connection:
    """Redis behind an address. No I/O before `open`.

    `patience` is how long a call goes on trying to reach a server that is away, within its own
    deadline; then it raises Unavailable. `epoch` rises with each new link for calls.
    """

    def __init__(
        self,
        url: str,
        *,
        client_name: str = "",
        limits: Limits = DEFAULT_LIMITS,
        patience: float = 1.0,
    ) -> None:
        address = parse_address(url)
        self._address = replace(address, client_name=address.client_name or client_name)
        self._limits = limits
        self._patience = patience
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._topology: Topology | None = None
        self._wires: dict[tuple[Endpoint, bool], Wire] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self.epoch = 0

    # -- life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and check the server. Raises ConfigError or Unavailable."""
        if self._topology is not None:
            self._check_home()
            return
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._topology = _topology(self._address, self._limits)
        try:
            await self._topology.start(self._switched)
            await self._link(b"", False, self._loop.time() + 5.0)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close all sockets; calls in flight fail. The connection can be opened again."""
        if self._topology is None:
            return
        self._check_home()
        topology, self._topology = self._topology, None
        wires, self._wires = self._wires, {}
        await topology.aclose()
        for reader in list(self._readers):
            await reader.aclose()
        for wire in wires.values():
            await wire.aclose()
        self._loop = None

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each new link that replaces a lost one; returns its undoing."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    # -- calls ----------------------------------------------------------------------------

    async def call(
        self, script: Loadable, keys: Sequence[Arg], args: Sequence[Arg], *, timeout: float = 5.0
    ) -> Any:
        """EVALSHA with one key. Raises Unavailable, ScriptError."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._pid != os.getpid():
            self._check_home()
        command = (b"EVALSHA", script.sha, len(keys), *keys, *args)
        return await self._converse(command, False, loop.time() + timeout, script)

    async def command(self, *args: Arg, timeout: float = 5.0) -> Any:
        """One plain command on the connection for large bodies. Raises as `call`."""
        self._check_home()
        deadline = asyncio.get_running_loop().time() + timeout
        return await self._converse(args, True, deadline)

    async def load(self, scripts: Iterable[Loadable], *, timeout: float = 5.0) -> None:
        """Load scripts ahead of their first use (else the first call of each does it)."""
        self._check_home()
        deadline = asyncio.get_running_loop().time() + timeout
        link = await self._link(b"", False, deadline)
        for script in scripts:
            await self._load(link, script, link.sent, deadline)

    def reader(self) -> Reader:
        """A connection of its own for blocking reads; close it, or `aclose` does."""
        self._check_home()
        reader = Reader(self._open_for_reading)
        self._readers.add(reader)
        return reader

    # -- inside ---------------------------------------------------------------------------

    async def _converse(
        self, command: tuple[Arg, ...], bulk: bool, deadline: float, script: Loadable | None = None
    ) -> Any:
        """Send, and follow what is known not to have run."""
        key = command[3] if script is not None else command[1] if len(command) > 1 else b""
        reply: Any = None
        for _ in range(_HOPS):
            link = self._wire(key, bulk).link
            if link is None or not link.usable:
                link = await self._link(key, bulk, deadline)
            seen = link.sent
            reply = await link.ask(command, deadline)
            if not is_error(reply):
                return reply
            code = code_of(reply)
            if code == "NOSCRIPT" and script is not None:
                await self._load(link, script, seen, deadline)
                continue
            if code in STALE_CODES:
                self._wire(key, bulk).drop(link, code)
            break
        raise error_of(reply)

    async def _link(self, key: Arg, bulk: bool, deadline: float) -> Link:
        """The link for a key, opened if need be, for as long as patience lasts."""
        loop = asyncio.get_running_loop()
        give_up = min(loop.time() + self._patience, deadline)
        while True:
            wire = self._wire(key, bulk)
            try:
                return await wire.get(deadline)
            except ConfigError as error:
                if not self.epoch:
                    raise
                raise Unavailable(str(error), code="CONFIG") from None
            except Unavailable:
                if self._topology is None or loop.time() >= give_up:
                    raise
            await self._topology.lost(self._topology.place(_bytes(key)))

    async def _load(self, link: Link, script: Loadable, seen: int, deadline: float) -> None:
        """SCRIPT LOAD, once for all callers whose call went out before it."""
        loop = asyncio.get_running_loop()
        number, future = link.loads.get(script.sha, (-1, None))
        if future is None or number < seen:
            number = link.sent
            future = link.send(("SCRIPT", "LOAD", script.text), loop.time() + _LOAD_S)
            link.loads[script.sha] = (number, future)
        try:
            async with asyncio.timeout_at(deadline):
                reply = await asyncio.shield(future)
        except TimeoutError:
            raise Unavailable(f"no time to load {script.name}", code="TIMEOUT") from None
        except Unavailable as error:
            raise Unavailable(str(error), code=error.code) from None
        if is_error(reply):
            raise error_of(reply)

    def _wire(self, key: Arg, bulk: bool) -> Wire:
        topology = self._topology
        if topology is None:
            raise closed()
        place = topology.place(_bytes(key))
        wire = self._wires.get((place, bulk))
        if wire is None:
            wire = Wire(lambda: topology.open(place), on_open=None if bulk else self._opened)
            self._wires[place, bulk] = wire
        return wire

    async def _open_for_reading(self, key: bytes) -> Link:
        self._check_home()
        topology = self._topology
        assert topology is not None
        place = topology.place(key)
        try:
            return await topology.open(place)
        except Unavailable:
            await topology.lost(place)
            raise

    def _opened(self, first: bool) -> None:
        self.epoch += 1
        if not first:
            for callback in list(self._callbacks):
                callback()

    def _switched(self, reason: str) -> None:
        for wire in self._wires.values():
            wire.drop(wire.link, reason, at_once=True)
        for reader in list(self._readers):
            reader.drop(reason)

    def _check_home(self) -> None:
        """Refuse a call from another process or event loop than the one that opened."""
        if self._topology is None:
            raise closed()
        if self._pid != os.getpid():
            raise ConfigError(
                "this connection was opened before a fork: open a new one in the child process"
            )
        if self._loop is not asyncio.get_running_loop():
            raise ConfigError(
                "this connection belongs to another event loop: open one in each loop, and "
                "aclose() it before its loop ends"
            )


def parse_address(url: str) -> Address:
    """Parse an address; plain ones by redis-py. Raises ConfigError."""
    # Imported late: it takes a quarter of a second, and the scripts can be used without.
    from redis.asyncio.connection import parse_url

    return parse(url, parse_url)


def _topology(address: Address, limits: Limits) -> Topology:
    if address.kind == "sentinel":
        return Sentinels(address, limits)
    return Fixed(address, limits)


def _bytes(key: Arg) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()
