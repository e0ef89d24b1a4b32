"""One method per script: arguments in the order of its header, the reply as a small tuple.

Raises Unavailable (with `unknown` where it may have run), ScriptError for arguments that the
script refuses, and OldCallError where a numbered call came after a later one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .errors import PeakError
from .keys import Keys
from .model import (
    Admitted,
    Attached,
    Bucket,
    Claimed,
    Grant,
    Leased,
    Profile,
    Published,
    Told,
    Verdict,
)
from .scripts import Script, load_scripts

Arg = str | bytes | int


@functools.cache
def scripts() -> dict[str, Script]:
    """The bundles, read once a process."""
    return load_scripts()


class Caller(Protocol):
    """What is needed of a connection."""

    async def call(
        self, script: Script, keys: Sequence[Any], args: Sequence[Any], *, timeout: float = 5.0
    ) -> Any: ...


class OldCallError(PeakError):
    """The call's number was used before: nothing was done."""


class Commands:
    """The scripts of one queue over one connection."""

    def __init__(self, conn: Caller, scripts: Mapping[str, Script], keys: Keys) -> None:
        self._conn = conn
        self._scripts = scripts
        self._keys = (keys.base,)
        self.keys = keys

    async def _call(self, name: str, args: Sequence[Arg]) -> list[Any]:
        reply: list[Any] = await self._conn.call(self._scripts[name], self._keys, args)
        if reply[0] != b"OK":
            raise OldCallError(f"{name}: the caller has gone on to a later call; nothing was done")
        return reply

    async def admit(
        self,
        caller: str,
        number: int,
        mode: str,
        trim_id: bytes,
        buckets: Sequence[Bucket],
        profiles: Sequence[Profile],
        tasks: Sequence[tuple[int, str, bytes]],
    ) -> Admitted:
        """Take tasks in; each is (profile counted from 1, id, body)."""
        args: list[Arg] = [caller, number, mode, trim_id, len(buckets)]
        for bucket in buckets:
            args += bucket
        args.append(len(profiles))
        for profile in profiles:
            args += profile
        for task in tasks:
            args += task
        reply = await self._call("admit", args)
        return Admitted(reply[1], reply[2] == 1, _words(reply[3]), _grants(reply[4]))

    async def claim(
        self, caller: str, number: int, limit: int, max_level: int, *, stand: bool = False
    ) -> Claimed:
        """Lease up to `limit` tasks; what is not got may `stand`."""
        reply = await self._call("claim", (caller, number, limit, _level(max_level, stand=stand)))
        return Claimed(reply[1], reply[2] == 1, _leased(reply[3]))

    async def publish(
        self,
        caller: str,
        number: int,
        limit: int,
        max_level: int,
        outcomes: Sequence[tuple[str, int, str, bytes]],
        *,
        hold: bool = False,
        stand: bool = False,
    ) -> Published:
        """End leases with (id, fence, done|failed, body), and go on with the next."""
        args: list[Arg] = [caller, number, limit, _level(max_level, stand=stand)]
        for outcome in outcomes:
            args += outcome
        reply = await self._call("publish", args)
        tasks = [] if hold else _leased(reply[4])
        grants = _grants(reply[4]) if hold else []
        return Published(reply[1], reply[2] == 1, _words(reply[3]), tasks, grants)

    async def retry(
        self, caller: str, number: int, leases: Sequence[tuple[str, int, int, int, str]]
    ) -> Told:
        """Hand back (id, fence, delay_ms, counted, reason); `counted` 2: the last attempt."""
        args: list[Arg] = [caller, number]
        for task_id, fence, delay_ms, counted, reason in leases:
            args += (task_id, fence, delay_ms, int(counted), _reason(reason))
        reply = await self._call("retry", args)
        return Told(reply[1], reply[2] == 1, _words(reply[3]))

    async def cancel(
        self, caller: str, number: int, reason: str, ids: Sequence[str]
    ) -> tuple[Told, list[Grant]]:
        """End waiting tasks as `cancelled` or `expired`; have running ones told."""
        reply = await self._call("cancel", (caller, number, reason, *ids))
        return Told(reply[1], reply[2] == 1, _words(reply[3])), _grants(reply[4])

    async def renew(self, caller: str, leases: Sequence[tuple[str, int]]) -> Told:
        """Extend leases given as (id, fence)."""
        args: list[Arg] = [caller]
        for lease in leases:
            args += lease
        reply = await self._call("renew", args)
        return Told(reply[1], False, _words(reply[2]))

    async def sweep(self) -> tuple[int, bool]:
        """Let time have its effect; returns next_ms and more."""
        reply = await self._call("sweep", ())
        return reply[1], reply[2] == 1

    async def place(
        self,
        caller: str,
        number: int,
        mode: str,
        action: str,
        place_id: str,
        route: str,
        level: int,
    ) -> tuple[int, str]:
        """Take or leave a place; returns next_ms and the word."""
        reply = await self._call("place", (caller, number, mode, action, place_id, route, level))
        return reply[1], reply[2].decode()

    async def attach(self, caller: str, ids: Sequence[str] = ()) -> Attached:
        """Make or refresh the caller's inbox; watch tasks of others."""
        reply = await self._call("attach", (caller, *ids))
        return Attached(reply[1] == 1, reply[2], reply[3], reply[4])

    async def fetch(self, what: str, ids: Sequence[str]) -> list[bytes]:
        """`state` or `position` of tasks."""
        reply = await self._call("fetch", (what, *ids))
        values: list[bytes] = reply[1]
        return values

    async def limit(self, buckets: Sequence[tuple[Bucket, int]]) -> list[Verdict]:
        """Take `cost` tokens from each bucket, all or none; one verdict a bucket."""
        args: list[Arg] = []
        for bucket, cost in buckets:
            args += (*bucket, cost)
        _, word, wait_ms, *remaining = await self._call("limit", args)
        retry = {b"OK": 0.0, b"WAIT": wait_ms / 1000}.get(word)
        return [Verdict(word == b"OK", left, retry) for left in remaining]

    async def configure(self, settings: Mapping[str, Arg]) -> tuple[int, bool]:
        """Change settings by the names of lua/README.md; returns next_ms and more."""
        args: list[Arg] = []
        for setting in settings.items():
            args += setting
        reply = await self._call("configure", args)
        return reply[1], reply[2] == 1

    async def gauge(self) -> dict[str, Any]:
        """One snapshot: names as in lua/README.md; `levels` is a list, `routes` a dict."""
        pairs = (await self._call("gauge", ()))[1]
        gauge: dict[str, Any] = {
            name.decode(): value.decode() if isinstance(value, bytes) else value
            for name, value in zip(pairs[::2], pairs[1::2], strict=True)
        }
        flat: list[Any] = gauge["routes"]
        gauge["routes"] = {
            flat[i].decode(): {
                "living": flat[i + 1],
                "running": flat[i + 2],
                "parked": flat[i + 3].decode(),
            }
            for i in range(0, len(flat), 4)
        }
        return gauge

    async def revive(self, letters: Sequence[tuple[str, str]]) -> Told:
        """Bring dead letters back: (dead id, new id)."""
        args: list[Arg] = []
        for letter in letters:
            args += letter
        reply = await self._call("revive", args)
        return Told(reply[1], False, _words(reply[2]))


def _level(max_level: int, *, stand: bool) -> Arg:
    return f"{max_level}+" if stand else max_level


def _reason(text: str) -> bytes:
    """At most 1024 bytes, cut between two characters."""
    return text.encode("utf-8", "replace")[:1024].decode("utf-8", "ignore").encode()


def _words(reply: list[bytes]) -> list[str]:
    return [word.decode("utf-8", "replace") for word in reply]


def _grants(flat: list[Any]) -> list[Grant]:
    return [
        Grant(task_id.decode(), fence, hard_left_ms)
        for task_id, fence, hard_left_ms in zip(*[iter(flat)] * 3, strict=True)
    ]


def _leased(flat: list[Any]) -> list[Leased]:
    return [
        Leased(
            task_id.decode(), fence, attempt, left_ms, level, route.decode(), tenant.decode(), body
        )
        for task_id, fence, attempt, left_ms, level, route, tenant, body in zip(
            *[iter(flat)] * 8, strict=True
        )
    ]
