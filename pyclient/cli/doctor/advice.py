"""What to do about a broken invariant. Doctor itself never writes."""

from __future__ import annotations

from pyclient.cli.audit.invariants import Violation
from pyclient.keys import Keys

_DRAIN = (
    "peakshaver queue close {queue}, wait until nothing waits or runs, DEL '{base}routes', "
    "then peakshaver queue resume {queue}"
)
_ADVICE = {
    "readable": "peakshaver did not write this: find who else writes under this prefix "
    "(peakshaver acl gives each a user of its own); then remove it, it is lost",
    "partition": "that task can't end by itself. Of one that is nowhere in line: "
    "HDEL '{base}tasks' ID, its caller is told that it is lost; of one that is no task: ZREM it "
    "where it stands. If nobody edited keys by hand, please report it",
    "leases": "a lease without its record ends with its next sweep; fences that clash come of two "
    "servers that were both primary: look at failovers, and let the queue drain",
    "headers": "only a restored backup or an edited key does this: let the queue drain",
    "represented": "no worker looks at that lane before a new task comes into it: submit one of "
    "this level and route, or let the others drain and restart. Please report it",
    "listed": "gauges and sweeps miss that lane until a task comes into it: submit one",
    "in_use": "no worker looks at that level before a new task comes into it: submit one",
    "counted": _DRAIN,
    "lives": "no release of peakshaver leaves such a key: find who writes it, then UNLINK it",
    "bounded": "no worker listens there any more: UNLINK it; hints come anew",
}


def advice(check: str, keys: Keys, violation: Violation) -> str:
    """One line for a check that failed."""
    return _ADVICE[check].format(queue=keys.name, base=keys.base.decode())
