"""A finding is told only if it is there in every look: a live queue moves between two reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .invariants import Violation, find
from .snapshot import Snapshot

# Between two looks. One instant is certain, so that two do; pieces of several want more.
PAUSES_S = (0.2,)
PAUSES_IN_PIECES_S = (0.2, 0.5, 1.0)


async def confirmed(look: Callable[[], Awaitable[Snapshot]]) -> tuple[Snapshot, list[Violation]]:
    """The last snapshot, and what was wrong in each of them, of the same subject."""
    snap = await look()
    found = find(snap)
    for pause in PAUSES_IN_PIECES_S if snap.pieces or snap.left_out else PAUSES_S:
        if not found:
            break
        await asyncio.sleep(pause)
        snap = await look()
        seen = {(one.check, one.subject) for one in found}
        found = [one for one in find(snap) if (one.check, one.subject) in seen]
    return snap, found
