"""What the line costs in time: requests through it and past it in turns, so that whatever else the
machine does meets both.
"""

from __future__ import annotations

import statistics
import time

from .rawclient import RawClient, connected, request
from .rawtarget import Seen, Wire, answer
from .rig import Site


def one_ms(seen: Seen, wire: Wire) -> None:
    """A target that takes a millisecond."""
    time.sleep(0.001)
    wire.send(answer(b"x" * 100))


def _round(client: RawClient) -> float:
    began = time.perf_counter()
    client.send(request(b"GET", b"/quick"))
    assert client.answer().status == 200
    return (time.perf_counter() - began) * 1000


def added_p50(here: Site, rounds: int = 5, requests: int = 200) -> list[float]:
    """The difference of the medians in ms, for each round."""
    found = []
    with connected(here.port) as queued, connected(here.target.port) as direct:
        for _ in range(rounds):
            through, past = [], []
            for _ in range(requests):
                through.append(_round(queued))
                past.append(_round(direct))
            found.append(statistics.median(through) - statistics.median(past))
    return found
