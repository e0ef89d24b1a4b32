"""The invariants of `peakshaver doctor`, as the tests ask for them."""

from __future__ import annotations

from pyclient.cli.audit.invariants import RECORDS, SHORT_LIVED, find
from pyclient.cli.audit.snapshot import Snapshot

from .snapshot import dump


def violations(snap: Snapshot) -> list[str]:
    """All violations in a snapshot, a sentence each."""
    return [str(violation) for violation in find(snap)]


def check(client: object, prefix: str) -> list[str]:
    """All violations of a queue in Redis."""
    return violations(dump(client, prefix))


def left_over(snap: Snapshot) -> list[str]:
    """After everything has ended: what should not be there any more."""
    return [
        key
        for key in snap.names()
        if key not in RECORDS
        and not (key.startswith(SHORT_LIVED) and snap.ttl[key] > 0)
        and not key.startswith("wake:")
    ]
