"""Scripts into a server's memory: once for all callers that found theirs missing."""

from __future__ import annotations

import asyncio
from typing import Protocol

from .errors import Unavailable
from .link import Link
from .replies import error_of, is_error

_LOAD_S = 5.0


class Loadable(Protocol):
    """A script: `scripts.Script` is one."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def sha(self) -> str:
        """SHA1 of `text`, in hex."""

    @property
    def text(self) -> bytes:
        """The source."""


async def load_script(link: Link, script: Loadable, seen: int, deadline: float) -> None:
    """SCRIPT LOAD, unless one was sent after call number `seen` of this link was.

    So a flush costs one load a connection, however many calls it hit. Loading has a deadline
    of its own, for it serves callers with different ones. Raises Unavailable, ScriptError.
    """
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
        raise Unavailable(f"no time to load script {script.name}", code="TIMEOUT") from None
    except Unavailable as error:
        # Whatever became of the load: the call itself did not run.
        raise Unavailable(str(error), code=error.code) from None
    if is_error(reply):
        raise error_of(reply)
