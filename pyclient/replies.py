"""Error replies of Redis as exceptions, by their code (the first word), never by their text.

The texts differ between releases and forks; the codes are part of the protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis

from .errors import ConfigError, PeakError, ScriptError, Unavailable

AUTH_CODES = frozenset({"NOAUTH", "WRONGPASS", "NOPERM", "DENIED"})
"""What no retry mends: the server wants other credentials, rights or settings."""

STALE_CODES = frozenset({"READONLY", "LOADING", "MASTERDOWN"})
"""What says that this is not, or not yet, the server to talk to."""

_ADVICE = {
    "READONLY": "this server is a replica; the primary is looked up again",
    "LOADING": "Redis is loading its data after a start; try again in a moment",
    "CLUSTERDOWN": "the Cluster does not serve this slot now",
    "MASTERDOWN": "this replica lost its primary",
    "TRYAGAIN": "the slot is being moved between Cluster nodes",
    "BUSY": "another script holds Redis",
    "OOM": "Redis is at its maxmemory; nothing is taken in until memory is free",
    "MISCONF": "Redis can't write to its disk and refuses writes",
    "NOREPLICAS": "fewer replicas in touch than min-replicas-to-write asks for",
    "UNBLOCKED": "a blocking read was ended by the server",
    "MOVED": "the slot is on another Cluster node; a plain redis:// address stays on one node, "
    "use redis+cluster://",
    "ASK": "the slot is being moved between Cluster nodes",
    "NOSCRIPT": "Redis forgot a script as soon as it was loaded",
    "NOAUTH": "Redis asks for a password: put it into the address, redis://user:password@host",
    "WRONGPASS": "Redis refused user name or password: correct those in the address",
    "NOPERM": "the Redis user lacks a right; `peakshaver acl` prints what is needed",
    "DENIED": "Redis runs in protected mode: set a password, or bind it to this host",
}


def is_error(reply: object) -> bool:
    """Whether the reply is an error reply."""
    return isinstance(reply, hiredis.ReplyError)


def code_of(reply: object) -> str:
    """The code of an error reply: its first word."""
    return str(reply).partition(" ")[0]


def error_of(reply: object) -> Unavailable | ScriptError:
    """The exception for an error reply; for auth it is one that says what to do.

    Unavailable where the server can't serve now (nothing ran), else ScriptError.
    """
    code, _, text = str(reply).partition(" ")
    if code in _ADVICE:
        return Unavailable(f"{_ADVICE[code]} ({code}{_tail(code, text)})", code=code)
    if code == "ERR" and text.startswith("max number of clients"):
        return Unavailable(
            "Redis has no connection left: raise maxclients, or find who holds them",
            code="MAXCLIENTS",
        )
    return ScriptError(code, text)


def refusal_of(reply: object) -> PeakError:
    """As `error_of`, for the handshake: what no retry mends is a ConfigError there."""
    error = error_of(reply)
    if code_of(reply) in AUTH_CODES:
        return ConfigError(str(error))
    return error


def _tail(code: str, text: str) -> str:
    """The server's own words, but not of auth errors: they can quote what was sent."""
    return "" if code in AUTH_CODES else f": {text:.200}"


def text_of(value: Any) -> str:
    """A reply (bytes, integer or already text) as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def no_matter(future: asyncio.Future[Any]) -> None:
    """For a command beside another one that fails the same way: here is nobody to tell."""
    if not future.cancelled():
        future.exception()
