"""Calls the scripts over a plain connection and has every call explained."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from pyclient.scripts import Script, load_scripts

from . import invariants
from .ears import Ears
from .explain import explain
from .model import ORPHAN_S, Model, Step, expect
from .snapshot import Snapshot, dump

PREFIX = "peak:{t}:"
TEST_CLOCK = Path(__file__).parents[1] / "lua" / "clock.lua"
START_MS = 59_000_000_000
Arg = str | int | bytes


def scripts_with_test_clock(root: Path | None = None) -> dict[str, Script]:
    """All bundles, on the clock that the test sets."""
    given = os.environ.get("PEAK_TEST_LUA")
    return load_scripts(root or (Path(given) if given else None), {"clock": TEST_CLOCK})


def encode(value: Arg) -> bytes:
    """An argument as it travels."""
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def _shown(arg: bytes) -> str:
    """An argument as `shlex.split` would read it again, but for bytes that do not print."""
    word = repr(arg)[2:-1]
    return word if word and " " not in word else f"'{word}'"


class Driver:
    """One queue, its model, and a client that sends nothing twice by itself."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: Mapping[str, Script],
        seen: Counter[str] | None = None,
    ) -> None:
        self.client = client
        self.scripts = scripts
        self.seen = seen if seen is not None else Counter()
        self.log: list[str] = []
        self.healthy = True
        self.forgetful = False
        self.model = Model(self.seen)
        self.ears = Ears(client, PREFIX)
        self.numbers: Counter[str] = Counter()
        client.flushall()
        self.now_ms = START_MS
        self.snap = Snapshot(PREFIX)
        self.tick(0)

    def tick(self, ms: int) -> None:
        """Move the clock."""
        self.now_ms += ms
        self.model.now = self.now_ms
        self._tell_clock()
        self.log.append(f"clock {ms:+} ms = {self.now_ms}")
        if self.model.results and self.now_ms > self.model.kept:
            self.forget_results()

    def _tell_clock(self) -> None:
        self.client.set(PREFIX + "testclock", self.now_ms * 1000)

    def refresh(self) -> Snapshot:
        """Read the keys again (after something beside the scripts has changed them)."""
        self.snap = dump(self.client, PREFIX)
        self.snap.strings.pop("testclock", None)
        self.snap.ttl.pop("testclock", None)
        return self.snap

    def raw(self, verb: str, *args: Arg) -> Any:
        """One EVALSHA, loaded once where the server does not know it; nothing is checked."""
        script = self.scripts[verb]
        if self.forgetful:
            self.client.script_flush()
        words: tuple[Any, ...] = ("EVALSHA", script.sha, 1, PREFIX, *args)
        try:
            return self._send(words)
        except redis.exceptions.NoScriptError:
            self.client.script_load(script.text.decode("latin-1"))
            return self._send(words)
        except redis.ResponseError as error:
            raise redis.ResponseError(script.explain(str(error))) from None

    def _send(self, words: tuple[Any, ...]) -> Any:
        return self.client.execute_command(*words)

    def call(self, verb: str, *args: Arg) -> Any:
        """One call, explained by the model; all invariants after it."""
        sent = [encode(a) for a in args]
        self.log.append(f"{verb} {' '.join(_shown(a) for a in sent)}")
        before = self.snap
        try:
            reply = self.raw(verb, *sent)
            self.log.append(f"  -> {reply!r}")
            after = self.refresh()
            step = Step(verb, sent, reply, before, after)
            explain(self.model, step)
            heard = self.ears.heard(len(step.given))
            expect(heard == step.given, "heard is", heard, "expected", step.given)
            broken = invariants.violations(after)
            expect(not broken, "invariants after", verb, ":", *broken)
        except Exception as error:
            self.healthy = False
            error.add_note(self.history())
            raise
        self._hold_time(after)
        for caller, message in step.given:
            self.note_given(caller, message)
        return reply

    def note_given(self, caller: str, message: bytes) -> None:
        """Something was given to a claim that stood."""
        self.log.append(f"  {caller} is given {message!r}")

    def listen(self, caller: str) -> None:
        """The caller hears of what is given to it."""
        if caller not in self.model.listening:
            self.ears.open(caller)
            self.model.listening.add(caller)
            self.log.append(f"{caller} listens")

    def listen_no_more(self, caller: str) -> None:
        """The caller hears nothing any more; what stands of it goes on standing."""
        if caller in self.model.listening:
            self.ears.shut(caller)
            self.model.listening.discard(caller)
            self.log.append(f"{caller} does not listen")

    def _hold_time(self, snap: Snapshot) -> None:
        """Real time must not end an inbox or its owner (`delete_inbox` and `leave_inbox` alone
        do) nor fill a bucket."""
        for key, left in snap.ttl.items():
            if key.removeprefix("inbox:") in self.model.silent:
                if left < 30_000:
                    self.client.pexpire(PREFIX + key, 1000 * ORPHAN_S)
            elif key.startswith(("inbox:", "bucket:")) and left < 120_000:
                self.client.pexpire(PREFIX + key, 600_000)

    def history(self, last: int = 60) -> str:
        """The last calls, for a failure."""
        return "\n".join(["the last calls:", *self.log[-last:]])

    def numbered(self, verb: str, caller: str, *args: Arg) -> Any:
        """A numbered call with the caller's next number."""
        self.numbers[caller] += 1
        return self.call(verb, caller, self.numbers[caller], *args)

    def same_number(self, verb: str, caller: str, *args: Arg) -> Any:
        """The caller's last number again."""
        return self.call(verb, caller, self.numbers[caller], *args)

    def delete_inbox(self, caller: str) -> None:
        """The owner died long ago: its inbox goes (the test clock moves no TTL)."""
        self.client.delete(f"{PREFIX}inbox:{caller}")
        self.model.inboxes.pop(caller, None)
        self.model.silent.discard(caller)
        self.log.append(f"DEL inbox:{caller}")
        self.refresh()

    def forget_results(self) -> None:
        """All kept values have had their time (the test clock moves no TTL)."""
        self.client.delete(*(f"{PREFIX}result:{name}" for name in self.model.results))
        self.model.results.clear()
        self.log.append("DEL result:*")
        self.refresh()

    def leave_inbox(self, caller: str) -> None:
        """The owner was not heard of for a lease: it counts as gone, what it has not read stays."""
        if caller in self.model.inboxes:
            self.client.pexpire(f"{PREFIX}inbox:{caller}", 1000 * ORPHAN_S)
            self.model.silent.add(caller)
            self.log.append(f"{caller} is silent")
            self.refresh()

    def read_inbox(self, caller: str) -> None:
        """The owner has read its answers and removes them from the stream."""
        entries = [entry for entry, _ in self.snap.streams.get(f"inbox:{caller}", [])]
        if entries:
            self.client.xdel(f"{PREFIX}inbox:{caller}", *entries)
            self.log.append(f"XDEL inbox:{caller} {' '.join(entries)}")
            self.refresh()

    def pop_hints(self) -> int:
        """All hints are read, as by workers that then die."""
        popped = 0
        for key in [k for k in self.snap.lists if k.startswith(("wake:", "told:"))]:
            popped += 1
            self.client.delete(PREFIX + key)
        self.log.append("hints popped")
        self.refresh()
        return popped
