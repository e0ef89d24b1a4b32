"""Waiting for a task that another caller submitted."""

from __future__ import annotations

import asyncio
import logging

from .entry import Entry, closed
from .errors import PeakError, Unavailable
from .inbox import Inbox

log = logging.getLogger("pyclient.watching")

_FIRST_S, _LONGEST_S = 1.0, 15.0


async def watch(inbox: Inbox, entry: Entry) -> None:
    """Have the value posted to our inbox too, until it is there or nobody waits any more.

    It is asked again now and then: no more than 64 inboxes are posted to.
    """
    pause = _FIRST_S
    try:
        while not entry.future.done():
            try:
                value = (await inbox.attach([entry.id])).values[0]
            except Unavailable:
                if not entry.acked:
                    raise
                value = b"waiting"
            if value == b"gone":
                inbox.lost()  # it may be on its way in the inbox: that is read first
            elif value in (b"waiting", b"due") or value.startswith(b"running\n"):
                entry.acknowledge(entry.future.get_loop().time())
            else:
                inbox.take(entry.id, value)
            await asyncio.wait([entry.future], timeout=pause)
            pause = min(2 * pause, _LONGEST_S)
    except PeakError as error:
        entry.fail(error)
    except Exception as error:
        log.exception("watching failed by a mistake of this program")
        entry.fail(error)
    finally:
        inbox.discard(entry)
        entry.fail(closed())  # it was cancelled with its line, unless the value is there
