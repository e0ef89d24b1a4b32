"""One queue, driven by its scripts alone over a blocking connection, and the time of each call as
Redis itself counts it (`slowlog-log-slower-than 0`, by SHA)."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis

from pyclient.commands import scripts
from pyclient.keys import Keys, new_caller_id, new_task_id

from .server import Server
from .stats import quantile

Arg = str | bytes | int
Lease = tuple[bytes, int]
BATCH, WINDOW = 64, 16
BODY = b"m\xd9\xc8" + b"x" * 200  # as codec.encode has it
HOUR_MS = 3_600_000
ROUTE = "route-name-0"


class Pipe:
    """A blocking connection on hiredis: many commands in one write."""

    def __init__(self, server: Server) -> None:
        if server.path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(server.path)
        else:
            self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._reader = hiredis.Reader()

    def many(self, commands: Iterable[Sequence[Arg]]) -> list[Any]:
        """Send all, return all replies. Raises the first error reply."""
        packed = [hiredis.pack_command(tuple(one)) for one in commands]  # type: ignore[arg-type]
        self._socket.sendall(b"".join(packed))
        replies: list[Any] = []
        while len(replies) < len(packed):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 20))
            elif isinstance(reply, hiredis.ReplyError):
                raise reply
            else:
                replies.append(reply)
        return replies

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Scripted:
    """A queue with one caller, who is both submitter and worker."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._pipe = Pipe(server)
        self._keys = Keys("peak", name)
        self._me, self._number = new_caller_id(), 0
        self._scripts = scripts()
        self._pipe.many(("SCRIPT", "LOAD", one.text) for one in self._scripts.values())
        self.configure(("mode", "pull"), ("lease_ms", HOUR_MS), ("capacity", 0))
        self.attach()

    def call(self, name: str, *args: Arg) -> list[Any]:
        """One script call that has no number."""
        reply: list[Any] = self._pipe.many([self._command(name, args)])[0]
        return reply

    def numbered(self, name: str, *args: Arg) -> list[Any]:
        """One numbered script call."""
        self._number += 1
        return self.call(name, self._me, self._number, *args)

    def _command(self, name: str, args: Sequence[Arg]) -> tuple[Arg, ...]:
        return (b"EVALSHA", self._scripts[name].sha, 1, self._keys.base, *args)

    # -- verbs ------------------------------------------------------------------------------

    def configure(self, *settings: tuple[str, Arg]) -> None:
        """Settings by the names of the contract."""
        for start in range(0, len(settings), BATCH):
            some = settings[start : start + BATCH]
            self.call("configure", *(part for pair in some for part in pair))

    def attach(self) -> None:
        """The inbox, empty: who would read it is not here."""
        self.call("attach", self._me)
        self._pipe.many([(b"XTRIM", self._keys.inbox(self._me), b"MAXLEN", 1)])

    def admit(
        self,
        count: int,
        *,
        routes: Sequence[str] = (ROUTE,),
        level: int = 3,
        wait_ms: int = HOUR_MS,
    ) -> list[str]:
        """So many tasks, 64 a call, spread over the routes in turn; their ids."""
        ids: list[str] = []
        calls = []
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            some = [routes[(start + at) % len(routes)] for at in range(size)]
            number_of = {route: at + 1 for at, route in enumerate(dict.fromkeys(some))}
            calls.append(self._admit(some, number_of, level, wait_ms, ids))
            if len(calls) >= WINDOW:
                self._expect_ok(self._pipe.many(calls))
                calls = []
        self._expect_ok(self._pipe.many(calls))
        return ids

    def _admit(
        self,
        routes: Sequence[str],
        number_of: dict[str, int],
        level: int,
        wait_ms: int,
        ids: list[str],
    ) -> tuple[Arg, ...]:
        self._number += 1
        args: list[Arg] = [self._me, self._number, "pull", "0", 0, len(number_of)]
        for route in number_of:
            args += (level, route, "", wait_ms, 30_000, 0, 3, 0, "")
        for route in routes:
            ids.append(new_task_id())
            args += (number_of[route], ids[-1], BODY)
        return self._command("admit", args)

    def claim(self, limit: int = BATCH) -> list[Lease]:
        """Lease so many."""
        return _leases(self.numbered("claim", limit, 9)[3])

    def publish(self, leases: Sequence[Lease], limit: int = 0) -> list[Lease]:
        """End leases as done; lease so many next ones."""
        args: list[Arg] = [limit, 9]
        for task_id, fence in leases:
            args += (task_id, fence, "done", BODY)
        return _leases(self.numbered("publish", *args)[4])

    def renew(self, leases: Sequence[Lease]) -> None:
        """Extend leases."""
        self.call("renew", self._me, *(part for lease in leases for part in lease))

    def retry(self, leases: Sequence[Lease]) -> None:
        """Hand leases back at once, not counted."""
        args = [part for lease in leases for part in (*lease, 0, 0, "")]
        self.numbered("retry", *args)

    def cancel(self, ids: Sequence[str]) -> None:
        """Take waiting tasks out."""
        self.numbered("cancel", "cancelled", *ids)

    # -- what it took -----------------------------------------------------------------------

    def log_times(self) -> None:
        """From here on the server keeps the time of each call."""
        for name, value in (("slowlog-max-len", 200_000), ("slowlog-log-slower-than", 0)):
            self._server.ask("CONFIG", "SET", name, value)
        self._server.ask("SLOWLOG", "RESET")

    def log_nothing(self) -> None:
        """The log takes memory of the server's."""
        self._server.ask("CONFIG", "SET", "slowlog-log-slower-than", -1)
        self._server.ask("SLOWLOG", "RESET")

    def times(self) -> dict[str, list[int]]:
        """µs of each call since, by script."""
        names = {script.sha.encode(): name for name, script in self._scripts.items()}
        found: dict[str, list[int]] = defaultdict(list)
        base = self._keys.base
        for entry in self._server.ask("SLOWLOG", "GET", -1):
            words = entry[3]
            if words[0].upper() == b"EVALSHA" and words[3] == base:
                found[names.get(words[1], "?")].append(entry[2])
        self._server.ask("SLOWLOG", "RESET")
        return dict(found)

    def close(self) -> None:
        """Hang up."""
        self._pipe.close()

    @staticmethod
    def _expect_ok(replies: Iterable[list[Any]]) -> None:
        for reply in replies:
            if reply[0] != b"OK" or any(word != b"OK" for word in reply[3]):
                raise RuntimeError(f"expected OK of every task, got {reply[3][:3]}")


def figures_of(micros: Sequence[int], tasks: int = 1) -> dict[str, float | int | None]:
    """Median, p99 and longest of calls, in µs; the first two per task."""
    ordered = sorted(micros)

    def each(share: float) -> float | None:
        value = quantile(ordered, share)
        return None if value is None else round(value / tasks, 3)

    return {
        "calls": len(ordered),
        "median_us": each(0.5),
        "p99_us": each(0.99),
        "longest_us": ordered[-1] if ordered else None,
    }


def _leases(flat: Sequence[Any]) -> list[Lease]:
    return [(flat[at], flat[at + 1]) for at in range(0, len(flat), 8)]
