"""The driver for simulations: the same checks of every call, in one round trip a call.

Clock, script and dump go to the server in one write, over one connection that is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import redis

from pyclient.scripts import Script

from .driver import PREFIX, Arg, Driver
from .snapshot import DUMP, Snapshot, parsed

# Real time must end no inbox nor its owner and fill no bucket: only the test's clock may.
_HOLD = """
for i = 1, #out do
  if out[i][3] < 120000 and (out[i][3] > 60000 and out[i][1]:find(':inbox:', 1, true)
      or out[i][3] > 0 and out[i][1]:find(':bucket:', 1, true)) then
    redis.call('PEXPIRE', out[i][1], 600000)
  end
end
return out
"""
_DUMP = DUMP.replace("return out\n", _HOLD)


class SimDriver(Driver):
    """A driver that talks as little as it can."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: Mapping[str, Script],
        seen: Counter[str] | None = None,
    ) -> None:
        self._pool: Any = client.connection_pool
        self._conn: Any = self._pool.get_connection()
        self._dump = client.script_load(_DUMP)
        self._read: list[Any] | None = None
        self._given: list[tuple[str, bytes]] = []
        super().__init__(client, scripts, seen)

    def close(self) -> None:
        """Give the connections back."""
        self.ears.close()
        self._pool.release(self._conn)

    def _tell_clock(self) -> None:
        """The server hears of it with the next call."""

    def refresh(self) -> Snapshot:
        """The keys as the last call left them, or as they are now."""
        found, self._read = self._read, None
        if found is None:
            found = self._say(("EVAL", _DUMP, 0, PREFIX))[0]
        self.snap = parsed(PREFIX, found)
        self.snap.strings.pop("testclock", None)
        self.snap.ttl.pop("testclock", None)
        return self.snap

    def raw(self, verb: str, *args: Arg) -> Any:
        """One EVALSHA; a flushed server is loaded first, as the client does it at NOSCRIPT."""
        script = self.scripts[verb]
        words = ("EVALSHA", script.sha, 1, PREFIX, *args)
        clock = ("SET", PREFIX + "testclock", self.now_ms * 1000)
        dump = ("EVALSHA", self._dump, 0, PREFIX)
        _, reply, found = self._say(clock, words, dump)
        if isinstance(reply, redis.exceptions.NoScriptError):
            self.seen["script loaded again"] += 1
            loads = [("SCRIPT", "LOAD", text) for text in (script.text, _DUMP)]
            *_, reply, found = self._say(*loads, clock, words, dump)
        if isinstance(reply, redis.ResponseError):
            raise redis.ResponseError(script.explain(str(reply))) from None
        self._read = found
        return reply

    def note_given(self, caller: str, message: bytes) -> None:
        """As the driver's, and kept for its way through the network."""
        super().note_given(caller, message)
        self._given.append((caller, message))

    def given(self) -> list[tuple[str, bytes]]:
        """What was given since this was asked before."""
        given, self._given = self._given, []
        return given

    def plain(self, *words: Any) -> Any:
        """One command that is no script."""
        reply, self._read = self._say(words, ("EVAL", _DUMP, 0, PREFIX))
        if isinstance(reply, redis.ResponseError):
            raise reply
        self.refresh()
        return reply

    def _say(self, *commands: tuple[Any, ...]) -> list[Any]:
        self._conn.send_packed_command(self._conn.pack_commands(commands))
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(self._conn.read_response())
            except redis.ResponseError as error:
                replies.append(error)
        return replies

    def _hold_time(self, snap: Snapshot) -> None:
        """The dump has done it."""
