"""A connection of its own for blocking reads: XREAD BLOCK and BLPOP as wake-up hints.

A blocked read holds its socket, so it can't share one with calls. It has no time-out on the
socket but an outer deadline, block + 1 s (a server that was demoted can forget to answer), and a
read that is cancelled or late closes the socket: its reply must not meet the next read.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from .errors import ConfigError, Unavailable
from .kept import keep
from .keys import mark_of
from .link import Arg, Link
from .replies import error_of, is_error

_MARGIN_S = 1.0
_LONGEST_S = 3600.0


class Reader:
    """One blocking read at a time; reconnects with the next read, never by itself.

    `epoch` rises with each new link: what was subscribed or remembered there is to be resumed
    by the caller. Made by `Connection.reader()`.
    """

    def __init__(
        self,
        open_link: Callable[[bytes], Awaitable[Link]],
        *,
        on_close: Callable[[Reader], None],
        replicas: int = 0,
    ) -> None:
        self._open_link = open_link
        self._on_close = on_close
        self._replicas = replicas
        self._link: Link | None = None
        self._reading = False
        self._closed = False
        self.epoch = 0

    async def read(self, *args: Arg) -> Any:
        """Send a blocking command and return its reply, None if nothing came.

        XREAD answers a list of [stream, entries] in RESP2 and RESP3 alike. Raises Unavailable
        after which the next `read` connects anew: wait by a `Backoff` between tries.
        Where replication is demanded, what a stream brought is kept by the replicas first.
        """
        block_s = block_of(args)
        if self._reading:
            raise ConfigError("one blocking read at a time: make another reader")
        self._reading = True
        try:
            link = await self._ready(args)
            reply = await self._wait(link, args, block_s + _MARGIN_S)
            if self._replicas and reply and args[0] == b"XREAD" and not is_error(reply):
                await keep(link, self._replicas, mark_of(key_of(args)))
        finally:
            self._reading = False
        if is_error(reply):
            link.abort("the read was refused")
            raise error_of(reply)
        return [list(pair) for pair in reply.items()] if isinstance(reply, dict) else reply

    async def aclose(self) -> None:
        """Close the socket; a read in progress raises Unavailable."""
        self._closed = True
        self._on_close(self)
        link, self._link = self._link, None
        if link is not None:
            link.abort("the reader was closed", code="CLOSED")
            await link.wait_gone()

    def drop(self, reason: str) -> None:
        """End the present socket; a read in progress raises Unavailable."""
        if self._link is not None:
            self._link.abort(reason)

    async def _ready(self, args: tuple[Arg, ...]) -> Link:
        self._check_open()
        link = self._link
        if link is None or not link.usable:
            link = await self._open_link(key_of(args))
            try:
                self._check_open()
            except Unavailable:
                link.abort("the reader was closed meanwhile")
                raise
            self._link = link
            self.epoch += 1
        return link

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the reader was closed", code="CLOSED")

    async def _wait(self, link: Link, args: tuple[Arg, ...], wait_s: float) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await link.send(args, loop.time() + wait_s)
        except asyncio.CancelledError:
            link.abort("the read was cancelled")
            raise


def block_of(args: tuple[Arg, ...]) -> float:
    """The longest time, in seconds, that the server may hold this command."""
    verb = _word(args[0])
    try:
        if verb in ("XREAD", "XREADGROUP"):
            held_s = _held_by_xread(args[:-1])
            if held_s is None:
                return 0.0
            block_s, limited = held_s, held_s > 0
        elif verb in ("BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX"):
            block_s = float(_word(args[-1]))
            limited = block_s > 0
        else:
            return 0.0
    except (ValueError, IndexError):
        raise ConfigError(f"{verb}: can't find how long it blocks in its arguments") from None
    if not limited or block_s > _LONGEST_S:
        raise ConfigError(f"{verb} blocks for {block_s:g} s, expected more than 0, at most an hour")
    return block_s


@functools.lru_cache(64, typed=True)
def _held_by_xread(args: tuple[Arg, ...]) -> float | None:
    """What stands behind BLOCK. Without the last argument, an id, the reads of an inbox are all
    alike, so that it has to be looked for once."""
    # Options come before STREAMS; a stream may bear any name, BLOCK too.
    words = [_word(arg) for arg in args[:9]]
    words = words[: words.index("STREAMS")]
    return int(words[words.index("BLOCK") + 1]) / 1000 if "BLOCK" in words else None


def key_of(args: tuple[Arg, ...]) -> bytes:
    """The first key of a blocking command: it says which Cluster node to read from."""
    for index, arg in enumerate(args[:-1]):
        if _word(arg) == "STREAMS":
            return _bytes(args[index + 1])
    return _bytes(args[1]) if len(args) > 1 else b""


def _word(arg: Arg) -> str:
    return _bytes(arg).decode("latin-1").upper()


def _bytes(arg: Arg) -> bytes:
    return bytes(arg) if isinstance(arg, bytes | memoryview) else str(arg).encode()
