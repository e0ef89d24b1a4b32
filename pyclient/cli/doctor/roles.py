"""The users of Redis: may each role do its work, and no more?

Asked by ACL DRYRUN, which runs nothing, so that no denial is left in the ACL LOG.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pyclient.cli.acl import ROLES, needed
from pyclient.cli.reach import Redis
from pyclient.connection import Connection
from pyclient.errors import ConfigError, PeakError, ScriptError, Unavailable
from pyclient.keys import Keys
from pyclient.replies import text_of

from .finding import Finding

_TRIES = 6
# What no role needs. A user that may is more than its role.
_TOO_MUCH: tuple[tuple[str, ...], ...] = (
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("CONFIG", "GET", "requirepass"),
    ("ACL", "LIST"),
    ("EVAL", "return 1", "0"),
    ("SHUTDOWN",),
    ("GET", "other:{q}:x"),
)
Word = str | bytes


async def look_at_roles(redis: Redis, logins: Sequence[tuple[str, str]]) -> AsyncIterator[Finding]:
    """The users whose addresses were given, else those that are called as `acl` calls them."""
    tries = _Tries(redis)
    if not await tries.possible():
        text = "the users of Redis were not looked at: this one may not ask ACL DRYRUN"
        yield Finding("ok", "acl", text)
        return
    found = 0
    names = dict(logins)
    for role in ROLES:
        user = f"peak-{role}"
        if role in names:
            try:
                user = await _whoami(names[role], redis.prefix)
            except PeakError as error:
                fix = f"peakshaver acl {role} prints its user"
                yield Finding("problem", "acl", f"{role}: {error}", fix)
                continue
        elif not await tries.knows(user):
            continue
        found += 1
        yield await _judge(tries, role, user)
    if not found:
        text = "every client may do everything: there are no users for the roles"
        yield Finding("warning", "acl", text, "peakshaver acl gateway|worker|operator|loader")


async def _whoami(url: str, prefix: str) -> str:
    """Connect as a role; who it is. Raises PeakError."""
    conn = Connection(url, client_name="peakshaver-doctor")
    await conn.open()
    try:
        return text_of(await conn.command("ACL", "WHOAMI", at=f"{prefix}:{{x}}:"))
    except Unavailable as error:
        if error.code == "NOPERM":
            raise ConfigError("connected, but it may not ask ACL WHOAMI") from None
        raise
    finally:
        await conn.aclose()


async def _judge(tries: _Tries, role: str, user: str) -> Finding:
    lacks = [name for name in sorted(needed(role)) if not await tries.may(user, _spelled(name))]
    if lacks:
        text = f"{role}: user {user!r} may not {', '.join(lacks)}"
        return Finding("problem", "acl", text, f"make it anew: peakshaver acl {role}")
    spare = [" ".join(words) for words in _TOO_MUCH if await tries.may(user, words)]
    if spare:
        text = f"{role}: user {user!r} may do more than its work: {', '.join(spare)}"
        return Finding("warning", "acl", text, f"peakshaver acl {role} prints a narrower one")
    return Finding("ok", "acl", f"{role}: user {user!r} may do its work, and no more")


def _spelled(name: str) -> tuple[str, ...]:
    """`script|load` as SCRIPT LOAD."""
    return tuple(name.upper().split("|"))


class _Tries:
    """Questions to ACL DRYRUN. Keys stand where a command has them."""

    def __init__(self, redis: Redis) -> None:
        self._conn = redis.conn
        self._base = Keys(redis.prefix, redis.settings.queue).base

    async def possible(self) -> bool:
        """Whether this user may ask at all."""
        try:
            await self._conn.command("ACL", "DRYRUN", "default", "PING", at=self._base)
        except ScriptError:
            return False
        except Unavailable as error:
            if error.code == "NOPERM":
                return False
            raise
        return True

    async def knows(self, user: str) -> bool:
        """Whether there is such a user."""
        try:
            await self._conn.command("ACL", "DRYRUN", user, "PING", at=self._base)
        except ScriptError:
            return False
        return True

    async def may(self, user: str, words: tuple[str, ...]) -> bool:
        """Whether the user may run it on keys of the queue, with as many arguments as it takes."""
        full: list[Word] = [*words]
        if words in _TOO_MUCH:
            return await self._asked(user, full) is True
        full += self._arguments(words)
        for _ in range(_TRIES):
            answer = await self._asked(user, full)
            if answer is not None:
                return answer
            full.append("1")
        return False

    def _arguments(self, words: tuple[str, ...]) -> list[Word]:
        key = self._base + b"x"
        special: dict[str, list[Word]] = {
            "EVALSHA": ["0" * 40, "1", key],
            "XREAD": ["STREAMS", key, "0"],
            "XINFO": ["STREAM", key],
            "SCAN": ["0"],
        }
        keyless = ("PING", "INFO", "SELECT", "TIME", "MULTI", "EXEC", "SCRIPT", "CLIENT", "ACL")
        if words[0] in special:
            return special[words[0]]
        return [] if words[0] in (*keyless, "CLUSTER", "WAIT", "ASKING", "READONLY") else [key]

    async def _asked(self, user: str, words: Sequence[Word]) -> bool | None:
        """None: too few arguments."""
        try:
            reply = await self._conn.command("ACL", "DRYRUN", user, *words, at=self._base)
        except ScriptError as error:
            return None if "arguments" in str(error) else False
        return bool(reply == b"OK" or reply == "OK")
