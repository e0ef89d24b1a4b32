"""The one place that spells a key.

Every key of a queue begins with `<prefix>:{<queue>}:`, so that a queue lives in one Cluster slot
and under one ACL pattern.
"""

from __future__ import annotations

import base64
import os
import re
import secrets

from .errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9_.~/-]{1,64}\Z")
_ROUTE = re.compile(r"[A-Za-z0-9_.~/%@+-]{1,64}\Z")
_ID = re.compile(r"[A-Za-z0-9_-]{22}\Z")


class Keys:
    """The keys of one queue."""

    __slots__ = ("base", "name", "prefix")

    def __init__(self, prefix: str, name: str) -> None:
        self.prefix = check_name("prefix", prefix)
        self.name = check_name("queue name", name)
        self.base = f"{prefix}:{{{name}}}:".encode()

    def inbox(self, caller: str) -> bytes:
        """The caller's stream of answers."""
        return self.base + b"inbox:" + caller.encode()

    def told(self, caller: str) -> bytes:
        """Cancels for one worker."""
        return self.base + b"told:" + caller.encode()

    def given(self, caller: str) -> bytes:
        """The channel on which a worker hears of tasks that are leased to its standing claim."""
        return self.base + b"given:" + caller.encode()

    def wake(self, max_level: int) -> bytes:
        """Hints for idle workers that serve levels up to `max_level`."""
        return self.base + b"wake:%d" % max_level

    def request_body(self, task_id: str) -> bytes:
        """A request body that is too large to travel through the scripts."""
        return self.base + b"body:" + task_id.encode()

    def answer_body(self, task_id: str) -> bytes:
        """An answer that is too large to travel through the scripts."""
        return self.base + b"body:" + task_id.encode() + b".out"

    def tasks(self) -> bytes:
        """The hash of living tasks."""
        return self.base + b"tasks"

    def wholes(self) -> bytes:
        """Of shard 0: the hash of limits of routes as they were asked for, before the split."""
        return self.base + b"wholes"

    def settings(self) -> bytes:
        """The hash of settings; a route that has a room has the field `room_field` in it."""
        return self.base + b"conf"

    @staticmethod
    def room_field(route: str) -> bytes:
        """The field of `settings` that holds the room of a route."""
        return b"room:" + route.encode()


def mark_of(key: bytes) -> bytes:
    """The mark of the queue that a key (or its bare prefix) belongs to: see kept.py."""
    return key[: key.find(b"}") + 1] + b":kept"


def check_name(what: str, value: str) -> str:
    """A queue name or prefix as given, or ConfigError."""
    if not _matches(_NAME, value):
        raise ConfigError(
            f"{what} {shorten(value)}: expected 1..64 characters of A-Z a-z 0-9 _ . ~ / -"
        )
    return value


def check_route(value: str) -> str:
    """A route name as given, or ConfigError."""
    if not _matches(_ROUTE, value):
        raise ConfigError(
            f"route {shorten(value)}: expected 1..64 characters of A-Z a-z 0-9 _ . ~ / % @ + -"
        )
    return value


def check_tenant(value: str) -> str:
    """A tenant as given (may be empty), or ConfigError."""
    if value != "" and not _matches(_ROUTE, value):
        raise ConfigError(
            f"tenant {shorten(value)}: expected 0..64 characters of A-Z a-z 0-9 _ . ~ / % @ + -; "
            "hash what may hold others"
        )
    return value


def check_id(value: str) -> str:
    """A task id as given, or ConfigError."""
    if not _matches(_ID, value):
        raise ConfigError(f"task id {shorten(value)}: expected 22 characters of A-Z a-z 0-9 _ -")
    return value


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None


def shorten(value: object) -> str:
    """A value for an error message: never longer than a line, whatever its class does."""
    try:
        text = repr(value[:64] if isinstance(value, str | bytes) else value)
    except Exception:  # too deep, an int of too many digits, or a repr of the caller's own
        return f"of type {type(value).__name__}"
    if isinstance(value, str | bytes) and len(value) > 64:
        return f"{text[:50]}… ({len(value)} characters)"
    return text if len(text) <= 60 else f"{text[:50]}… ({len(text)} characters)"


def new_task_id() -> str:
    """132 random bits as 22 base64url characters.

    Made 256 at a time: of one, asking the system for its bits would be most of the cost.
    """
    try:
        return _ids.pop()
    except IndexError:
        text = base64.urlsafe_b64encode(os.urandom(18 * _IDS)).decode()
        fresh = [text[start : start + 22] for start in range(0, 24 * _IDS, 24)]
        _ids.extend(fresh[1:])  # another thread may have been here too: so much the better
        return fresh[0]


_IDS = 256
_ids: list[str] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.clear)  # no id twice


def new_caller_id() -> str:
    """48 random bits as 8 base64url characters: short, since every task header carries it."""
    return secrets.token_urlsafe(6)
