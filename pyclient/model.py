"""What travels between the parts: small, immutable, without behaviour."""

from __future__ import annotations

from typing import NamedTuple


class Profile(NamedTuple):
    """What tasks have in common; a batch names each profile once."""

    level: int
    route: str
    tenant: str
    wait_ms: int
    run_ms: int
    due_ms: int
    attempts: int
    keep_s: int
    options: str = ""


class Bucket(NamedTuple):
    """A token bucket: `tokens` come in `period_us`, and at most `burst` of them collect."""

    name: str
    tokens: int
    period_us: int
    burst: int


class Leased(NamedTuple):
    """A task as a worker holds it; `hard_left_ms` was true when the reply was made."""

    id: str
    fence: int
    attempt: int
    hard_left_ms: int
    level: int
    route: str
    tenant: str
    body: bytes


class Grant(NamedTuple):
    """A turn in hold mode: the fence is the right to run until the lease ends."""

    id: str
    fence: int
    hard_left_ms: int


class Verdict(NamedTuple):
    """A limiter's answer; `retry_after` is in seconds, None where waiting never helps."""

    allowed: bool
    remaining: int
    retry_after: float | None


class Admitted(NamedTuple):
    """Reply of admit: one word a task, and the caller's own grants in hold mode."""

    next_ms: int
    more: bool
    words: list[str]
    grants: list[Grant]


class Claimed(NamedTuple):
    """Reply of claim."""

    next_ms: int
    more: bool
    tasks: list[Leased]


class Published(NamedTuple):
    """Reply of publish: one word an outcome, then the next tasks or grants."""

    next_ms: int
    more: bool
    words: list[str]
    tasks: list[Leased]
    grants: list[Grant]


class Attached(NamedTuple):
    """Reply of attach: `fresh` where the inbox was made now."""

    fresh: bool
    lease_ms: int
    last_id: bytes
    values: list[bytes]


class Told(NamedTuple):
    """Reply of the scripts that answer with words alone."""

    next_ms: int
    more: bool
    words: list[str]


class Outcome(NamedTuple):
    """A value as posted or kept: the word, and what comes after its line feed."""

    word: str
    body: bytes

    @classmethod
    def of(cls, value: bytes) -> Outcome:
        """Split a value."""
        word, _, body = value.partition(b"\n")
        return cls(word.decode("ascii", "replace"), body)
