"""What the tests of the connection share: small scripts, and an open connection."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from pyclient.connection import Connection, Limits
from pyclient.errors import Unavailable
from pyclient.link import DEFAULT_LIMITS


@dataclass(frozen=True)
class Lua:
    """A script by its text."""

    text: bytes
    name: str = "test"

    @property
    def sha(self) -> str:
        """Its address in Redis."""
        return hashlib.sha1(self.text, usedforsecurity=False).hexdigest()


ECHO = Lua(b"#!lua flags=no-writes\nreturn {'OK', ARGV[1]}", "echo")
COUNT = Lua(b"#!lua\nreturn redis.call('INCR', KEYS[1])", "count")
REFUSE = Lua(b"#!lua\nreturn redis.error_reply(ARGV[1])", "refuse")


@contextlib.asynccontextmanager
async def connected(
    url: str, *, limits: Limits = DEFAULT_LIMITS, patience: float = 1.0
) -> AsyncIterator[Connection]:
    """An open connection, closed at the end."""
    connection = Connection(url, limits=limits, patience=patience)
    await connection.open()
    try:
        yield connection
    finally:
        await connection.aclose()


@contextlib.contextmanager
def unavailable(code: str, *, unknown: bool = False) -> Iterator[None]:
    """Expect Unavailable with this code."""
    with pytest.raises(Unavailable) as caught:
        yield
    assert (caught.value.code, caught.value.unknown) == (code, unknown), str(caught.value)
