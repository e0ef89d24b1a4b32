"""Calls whose effect is known to be on the replicas before anybody is told of it.

WAIT follows the call on the same socket, all in one write: for every replica that is in touch
(so it does not matter which of them a failover promotes), and for no fewer than were demanded.
Between the two a mark is set: WAIT answers for what its own socket wrote last, and a call that
was only read, or was answered from its record, may have seen what another one wrote just now.
With fewer the call is *unknown*: it has run, but a failover may undo it. A numbered call is then
sent again under its number: it is answered from its record and waited for, or it runs at last on
a new primary.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from .errors import Unavailable
from .link import Arg, Link
from .replies import code_of, is_error, no_matter, text_of

_WAIT_MS = 200
_LOOK_S = 1.0
_LEAVE_S = 2.0
_PATIENCE_S = 3.0
_FLOOR_S = 2.0
_MARK_MS = 60_000
_TOLD = frozenset("admit cancel claim configure fetch place publish retry revive".split())


class Copies:
    """How many replicas of a link's server are in touch: `count` is what WAIT waits for.

    One that has left counts for a while longer: it may have been promoted, and what the others
    confirm meanwhile is lost. By then our watcher of the Sentinels has heard of it.
    """

    __slots__ = ("_fewer_since", "asked_at", "count")

    def __init__(self) -> None:
        self.count = 0
        self.asked_at = -math.inf
        self._fewer_since = math.inf

    def learn(self, count: int, now: float) -> None:
        """The server says that so many are in touch."""
        if count >= self.count or now - self._fewer_since >= _LEAVE_S:
            self.count, self._fewer_since = count, math.inf
        else:
            self._fewer_since = min(self._fewer_since, now)


_copies: WeakKeyDictionary[Link, Copies] = WeakKeyDictionary()


def copies_of(link: Link) -> Copies:
    """What is known of the replicas behind a link."""
    copies = _copies.get(link)
    if copies is None:
        copies = _copies[link] = Copies()
    return copies


class Waits(NamedTuple):
    """What was sent behind a call: the mark, if any, and WAIT."""

    marked: asyncio.Future[Any] | None
    mark: bytes
    acks: asyncio.Future[Any]


def tells(name: str, args: Sequence[Arg]) -> bool:
    """Whether somebody acts on what this script answers, so that it has to be kept first.

    Renewals and sweeps repeat themselves, and a token is worth no round trip.
    """
    return name in _TOLD or (name == "attach" and len(args) > 1)


async def ask_kept(
    link: Link, command: tuple[Arg, ...], deadline: float, least: int, mark: bytes
) -> Any:
    """Send one command and WAIT behind it; its reply once the replicas, at least `least`, have
    what it wrote or saw.

    An error reply is returned as it is. Raises Unavailable, `unknown` where replicas are missing.
    """
    loop = asyncio.get_running_loop()
    if deadline <= loop.time():
        raise Unavailable("the deadline passed before the call was sent", code="TIMEOUT")
    await link.room(deadline)
    overdue = max(deadline, loop.time() + _FLOOR_S)
    give_up = min(deadline, loop.time() + _PATIENCE_S)
    answer = link.send(command, overdue)
    kept = _wait(link, least, overdue, mark)
    try:
        async with asyncio.timeout_at(deadline):
            reply = await answer
            if not is_error(reply):
                await _all_have_it(link, kept, least, give_up, overdue)
            return reply
    except TimeoutError:
        text = "Redis did not answer in time (the call may have run)"
        raise Unavailable(text, code="TIMEOUT", unknown=True) from None


async def keep(link: Link, least: int, mark: bytes) -> None:
    """Return once the replicas have all that was read on this link. Raises Unavailable."""
    give_up = asyncio.get_running_loop().time() + _PATIENCE_S
    overdue = give_up + _FLOOR_S
    await _all_have_it(link, _wait(link, least, overdue, mark), least, give_up, overdue)


async def _all_have_it(link: Link, kept: Waits, least: int, give_up: float, overdue: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        count = await _told(link, kept, overdue)
        copies = copies_of(link)
        wanted = max(least, copies.count)
        if count >= wanted:
            return
        if loop.time() + _WAIT_MS / 1000 >= give_up:
            raise Unavailable(
                f"{count} of {wanted} replicas have confirmed the call, a failover may undo it: "
                "start those that are away, or look why they lag",
                code="REPLICAS",
                unknown=True,
            )
        copies.asked_at = -math.inf  # one may have gone: look at once
        kept = _wait(link, least, overdue, b"")


async def _told(link: Link, kept: Waits, overdue: float) -> int:
    """How many have it. A full Redis takes no new mark, but lets an old one live on."""
    marked, mark, acks = kept
    said: Any = await marked if marked is not None else b"OK"
    if mark and code_of(said) == "OOM":
        marked = link.send((b"PEXPIRE", mark, _MARK_MS), overdue)
        acks = link.send((b"WAIT", max(1, copies_of(link).count), _WAIT_MS), overdue)
        acks.add_done_callback(no_matter)
        said = said if await marked == 0 else b"OK"
    number: Any = said if is_error(said) else await acks
    if is_error(number):  # a primary that became a replica meanwhile answers UNBLOCKED
        raise Unavailable(
            f"the replicas could not be asked: {number!s:.80} (the call may be undone)",
            code=code_of(number),
            unknown=True,
        )
    return int(number)


def _wait(link: Link, least: int, overdue: float, mark: bytes) -> Waits:
    """Send WAIT; before it the mark, if one is wanted, and now and then the question of how many
    replicas are in touch."""
    copies = copies_of(link)
    now = asyncio.get_running_loop().time()
    if now - copies.asked_at > _LOOK_S:
        copies.asked_at = now
        info = link.send(("INFO", "replication"), overdue)
        info.add_done_callback(lambda told: _learn(link, told))
    marked = None
    if mark:
        marked = link.send((b"SET", mark, b"", b"PX", _MARK_MS), overdue)
        marked.add_done_callback(no_matter)
    acks = link.send((b"WAIT", max(least, copies.count), _WAIT_MS), overdue)
    acks.add_done_callback(no_matter)
    return Waits(marked, mark, acks)


def _learn(link: Link, told: asyncio.Future[Any]) -> None:
    if told.cancelled() or told.exception() is not None or is_error(told.result()):
        return
    for line in text_of(told.result()).splitlines():
        name, _, value = line.partition(":")
        if name == "min_slaves_good_slaves":  # those not behind by min-replicas-max-lag
            copies_of(link).learn(int(value), asyncio.get_running_loop().time())
