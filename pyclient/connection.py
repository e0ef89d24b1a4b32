"""The one seam between peakshaver and Redis: script calls, plain commands, blocking reads.

Nothing is sent twice on its own account, except what is known not to have run: NOSCRIPT, and
in a Cluster MOVED and ASK. Everything else surfaces; a lost reply as Unavailable(unknown=True).

**Invariant.** Replies are matched by order on one socket, so no caller, cancelled or late, ever
takes part in reading: see `link.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import hiredis

from .address import Address, parse
from .blocking import Reader
from .cluster import Cluster, ask_once, redirect_of
from .errors import ConfigError, Unavailable
from .kept import ask_kept, tells
from .keys import mark_of
from .link import DEFAULT_LIMITS, Arg, Limits, Link
from .loading import Loadable, load_script
from .replies import STALE_CODES, code_of, error_of
from .sentinel import Sentinels
from .subscription import Subscription
from .topology import Embedded, Fixed, Topology
from .wire import Backoff, closed
from .wires import Role, Wires, as_bytes

_HOPS = 6
_OPEN_S = 5.0
_PAUSE_S = 0.2


class Connection:
    """Redis behind an address. No I/O before `open`; it belongs to the loop that opened it.

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
        self.replicas = address.durability.replicas
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._wires: Wires | None = None
        self._readers: set[Reader] = set()
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._callbacks: list[Callable[[], None]] = []
        self.epoch = 0

    # -- life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and check the server. Raises ConfigError or Unavailable."""
        mine = None
        if self._wires is not None:
            self._check_home()
        else:
            self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
            topology = _topology(self._address, self._limits)
            mine = self._wires = Wires(
                topology,
                demand=self._address.durability,
                patience=self._patience,
                on_open=self._opened,
            )
            topology.start(self._switched)
        try:
            await self._link(b"", "call", asyncio.get_running_loop().time() + _OPEN_S)
        except BaseException:
            if mine is not None and mine is self._wires:  # else others may be using it
                await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close all sockets; calls in flight fail. The connection can be opened again."""
        if self._wires is None:
            return
        self._check_home()
        wires, self._wires, self._loop = self._wires, None, None
        self._drop_subscriptions("the connection was closed on this side")
        async with contextlib.AsyncExitStack() as stack:  # each, also if this is cancelled
            stack.push_async_callback(wires.aclose)
            for reader in list(self._readers):
                stack.push_async_callback(reader.aclose)

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each new link but the first, and when a slot moved; returns the undoing.

        Whatever the server pushed in between is lost: the time to ask it again.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    # -- calls ----------------------------------------------------------------------------

    async def call(
        self, script: Loadable, keys: Sequence[Arg], args: Sequence[Arg], *, timeout: float = 5.0
    ) -> Any:
        """EVALSHA with one key. Raises Unavailable or ScriptError.

        Where replication is demanded, what the script tells is kept by the replicas first.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._pid != os.getpid():
            self._check_home()
        command = (b"EVALSHA", script.sha, len(keys), *keys, *args)
        kept = self.replicas if self.replicas and tells(script.name, args) else 0
        return await self._converse(command, keys[0], "call", loop.time() + timeout, script, kept)

    async def command(self, *args: Arg, timeout: float = 5.0, at: Arg | None = None) -> Any:
        """One plain command, its first argument the key, on the socket for large bodies.

        `at`: sent to the server of this key, for commands whose first argument is none.
        Raises Unavailable or ScriptError.
        """
        self._check_home()
        key = at if at is not None else args[1] if len(args) > 1 else b""
        deadline = asyncio.get_running_loop().time() + timeout
        kept = self.replicas if args[0] == b"SET" else 0
        return await self._converse(args, key, "bulk", deadline, None, kept)

    async def homes(self) -> list[bytes]:
        """A key at each server that takes writes (`at` of a command that all have to be asked)."""
        self._check_home()
        return await self._open_wires().topology.homes()

    async def load(self, scripts: Iterable[Loadable], *, timeout: float = 5.0) -> None:
        """Load scripts ahead of their first use; else the first call of each does it."""
        self._check_home()
        deadline = asyncio.get_running_loop().time() + timeout
        link = await self._link(b"", "call", deadline)
        await asyncio.gather(*(load_script(link, one, link.sent, deadline) for one in scripts))

    def reader(self) -> Reader:
        """A socket of its own for blocking reads; close it, or `aclose` does."""
        self._check_home()
        reader = Reader(
            self._open_wires().open_for_reading,
            on_close=self._readers.discard,
            replicas=self.replicas,
        )
        self._readers.add(reader)
        return reader

    def subscription(
        self,
        channel: bytes,
        *,
        on_message: Callable[[bytes], None],
        on_change: Callable[[], None],
    ) -> Subscription:
        """A socket of its own for what is published on a channel, while its `listen` runs.

        Opened anew with each new link for calls: a demoted server tells on what its primary says.
        """
        self._check_home()
        opens = self._open_wires().open_for_reading
        made = Subscription(opens, channel, on_message=on_message, on_change=on_change)
        self._subscriptions.add(made)
        return made

    # -- inside ---------------------------------------------------------------------------

    async def _converse(
        self,
        command: tuple[Arg, ...],
        key: Arg,
        role: Role,
        deadline: float,
        script: Loadable | None,
        kept: int,
    ) -> Any:
        """Send, and follow what is known not to have run; `kept`: by so many replicas."""
        reply: Any = None
        wires = self._open_wires()
        for _ in range(_HOPS):
            link = wires.wire(key, role).link
            if link is None or not link.usable:
                link = await self._link(key, role, deadline)
            seen = link.sent
            if kept:
                mark = mark_of(as_bytes(key)) if script is not None else b""
                reply = await ask_kept(link, command, deadline, kept, mark)
            else:
                reply = await link.ask(command, deadline)
            if not isinstance(reply, hiredis.ReplyError):
                return reply
            code = code_of(reply)
            if code == "NOSCRIPT" and script is not None:
                await load_script(link, script, seen, deadline)
            elif code == "NOREPLICAS" and kept:  # a new primary: its replicas are on their way
                await asyncio.sleep(_PAUSE_S)
            elif code == "ASK" and wires.topology.sole is None:
                _, endpoint = redirect_of(reply, wires.topology.place(as_bytes(key)))
                other = await wires.wire_to(endpoint, role).get(deadline)
                return await ask_once(other, command, deadline, script, kept)
            elif code != "MOVED" or not self._follow(reply, wires.topology, key):
                if code in STALE_CODES:
                    wires.wire(key, role).drop(link, code)
                break
        raise error_of(reply)

    def _follow(self, moved: Any, topology: Topology, key: Arg) -> bool:
        """Learn from MOVED; whether to send again."""
        if topology.sole is not None:
            return False
        slot, endpoint = redirect_of(moved, topology.place(as_bytes(key)))
        topology.moved(slot, endpoint)
        self._call_back()
        return True

    async def _link(self, key: Arg, role: Role, deadline: float) -> Link:
        try:
            return await self._open_wires().link(key, role, deadline)
        except ConfigError as error:
            if not self.epoch:
                raise
            # It worked before: whoever runs may outlive a wrong setting made at the server.
            raise Unavailable(str(error), code="CONFIG") from None

    def _open_wires(self) -> Wires:
        if self._wires is None:
            raise closed()
        return self._wires

    def _opened(self) -> None:
        self.epoch += 1
        if self.epoch > 1:
            self._call_back()

    def _call_back(self) -> None:
        self._drop_subscriptions("Redis is another one, or was away")
        for callback in list(self._callbacks):
            callback()

    def _switched(self, reason: str) -> None:
        if self._wires is not None:
            self._wires.drop_all(reason)
        self._drop_subscriptions(reason)
        for reader in list(self._readers):
            reader.drop(reason)

    def _drop_subscriptions(self, reason: str) -> None:
        for one in list(self._subscriptions):
            one.drop(reason)

    def _check_home(self) -> None:
        """Refuse a call from another process or event loop than the one that opened."""
        if self._wires is None:
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
    if address.kind == "cluster":
        return Cluster(address, limits)
    if address.kind == "embedded":
        return Embedded(address, limits, parse_address)
    return Fixed(address, limits)


__all__ = ["Backoff", "Connection", "Limits", "Loadable", "Reader", "Subscription", "parse_address"]
