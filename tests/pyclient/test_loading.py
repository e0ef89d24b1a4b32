"""A script that is not there is loaded once; where that fails, the call itself did not run."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest

from pyclient.errors import ScriptError, Unavailable
from pyclient.loading import load_script

SCRIPT: Any = SimpleNamespace(name="claim", sha=b"sha", text=b"return 1")


class Link:
    """Answers the load with what it was given: a reply, an error, or nothing."""

    def __init__(self, end: object = None) -> None:
        self.sent = 1
        self.loads: dict[bytes, Any] = {}
        self._end = end

    def send(self, args: object, deadline: float) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        if isinstance(self._end, Unavailable):
            future.set_exception(self._end)
        elif self._end is not None:
            future.set_result(self._end)
        return future


async def load(link: Any) -> None:
    """With a moment's time."""
    await load_script(link, SCRIPT, 0, asyncio.get_running_loop().time() + 0.05)


async def test_a_load_that_takes_too_long_leaves_nothing_unknown() -> None:
    with pytest.raises(Unavailable, match="no time to load script claim") as caught:
        await load(Link())
    assert (caught.value.code, caught.value.unknown) == ("TIMEOUT", False)


async def test_a_load_whose_link_broke_leaves_nothing_unknown() -> None:
    with pytest.raises(Unavailable, match="cut") as caught:
        await load(Link(Unavailable("cut", code="CUT", unknown=True)))
    assert (caught.value.code, caught.value.unknown) == ("CUT", False)


async def test_a_load_that_is_refused_says_why() -> None:
    with pytest.raises(ScriptError, match="compil"):
        await load(Link(hiredis.ReplyError("ERR Error compiling script")))
    with pytest.raises(Unavailable, match="OOM"):
        await load(Link(hiredis.ReplyError("OOM no memory")))
