"""The mutants of the scripts that the actors have to notice as well: what that form is for, which
is fences, numbers, copies and limits."""

from __future__ import annotations

CAUGHT = frozenset(
    {
        "publish under any fence",
        "publish although told to stop",
        "one lease above the limit",
        "one lease above a route's limit",
        "renew beyond the hard deadline",
        "one attempt too many",
        "an uncounted retry counts",
        "no running count given back",
        "a fence that repeats",
        "every number is new",
        "an old copy runs",
        "a replay hands out lost leases",
        "any digest is the same",
        "no grace",
        "ownerless tasks are served",
        "publish releases no lane",
        "retry wakes nobody",
        "configure grants nothing",
        "nobody counts what is given",
        "given and goes on standing",
    }
)
