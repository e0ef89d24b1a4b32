"""The way between clients and one Redis, in virtual time: every call is scheduled from a seed.

A call is sent, arrives, is run by the real server (and explained by the model), and its reply
travels back. Each step can go wrong as on a real network: the request never arrives, or long after
the client has given it up; the reply is lost; a second copy arrives at any time later; the link is
silent until a time-out. What one link carries stays in order, as in TCP.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pyclient.errors import Unavailable

from .driver import PREFIX, START_MS
from .model import ORPHAN_S, expect
from .simdriver import SimDriver
from .simtime import SimLoop
from .snapshot import text
from .weather import Weather

NUMBERED = {"admit", "claim", "publish", "retry", "cancel", "place"}
UNNUMBERED = {"renew", "sweep", "attach", "fetch", "gauge"}
Future = asyncio.Future[Any]


class Link:
    """One socket of one client: in order, until it is cut."""

    def __init__(self, net: Network, name: str) -> None:
        self.net = net
        self.name = name
        self.heard = 0.0
        self.sent = 0.0
        self.dead = False
        self.on_cut: Callable[[], None] = lambda: None
        self._pending: dict[Future, None] = {}
        self._vanish: list[int] = [0]
        self._last: tuple[Callable[[], Any], str, Sequence[str]] | None = None

    def send(
        self,
        run: Callable[[], Any],
        *,
        what: str,
        timeout: float,
        copy: bool = False,
        ids: Sequence[str] = (),
    ) -> Future:
        """The reply will be the future's result, or Unavailable its error. `ids`: the tasks that
        it is about."""
        net, rng, weather = self.net, self.net.rng, self.net.weather
        reply: Future = net.loop.create_future()
        if self.dead:  # the process was killed: nobody will ever read this
            return reply
        self._pending[reply] = None
        fate = net.fate(self.name)
        lost = self._vanish
        at = self.sent = max(self.sent, net.loop.now + rng.expovariate(1 / weather.delay))
        if fate == "late":
            at += rng.uniform(0.1, 3.0) * net.lease_s
        if fate in ("lost", "late"):
            net.note(f"{self.name} {what}: {fate}")
            net.loop.call_at(net.loop.now + rng.uniform(0, 4 * weather.delay), self.cut)
        if fate == "silent":
            net.note(f"{self.name} {what}: silent")
            net.loop.call_at(net.loop.now + timeout, self.cut)
        if fate != "lost" and not (fate == "silent" and rng.random() < 0.5):
            number = lost[0]

            def arrive() -> None:
                if fate == "late" or lost[0] == number:
                    self._arrive(run, reply, fate)

            net.loop.call_at(at, arrive)
            if copy:
                self._last = run, what, ids
            if copy and rng.random() < weather.copied:
                again = at + rng.choice([0.01, 0.5, 3.0]) * net.lease_s * rng.random()
                net.loop.call_at(again, self._copy, run, what, ids)
        return reply

    def _arrive(self, run: Callable[[], Any], reply: Future, fate: str) -> None:
        net = self.net
        if net.down:
            self.cut()
            return
        result = net.guard(run)
        if net.failure is not None:
            return
        if fate in ("late", "silent") or self.dead or reply.done():
            return
        if fate == "mute":
            net.note(f"{self.name}: mute")
            if net.rng.random() < 0.3:  # and the whole process is cut off
                net.isolate(self.name.split("/")[0])
            net.loop.call_at(net.loop.now + net.rng.expovariate(1 / net.weather.delay), self.cut)
            return
        at = net.loop.now + net.rng.expovariate(1 / net.weather.delay)
        self.heard = max(self.heard, at)
        net.loop.call_at(self.heard, self.answer, reply, result)

    def _copy(self, run: Callable[[], Any], what: str, ids: Sequence[str]) -> None:
        """A second copy arrives; whatever it answers, nobody hears it."""
        if ids and not any(name in self.net.driver.model.tasks for name in ids):
            self.net.seen["copy after the end"] += 1
        if not self.net.down:
            self.net.note(f"{self.name} {what}: a copy arrives")
            self.net.seen["copy arrived"] += 1
            self.net.guard(run)

    def await_push(self) -> Future:
        """Wait for what the server sends by itself (a blocked read)."""
        reply: Future = self.net.loop.create_future()
        self._pending[reply] = None
        return reply

    def answer(self, reply: Future, result: Any) -> None:
        """The reply is there, unless the link was cut meanwhile."""
        if reply in self._pending and not self.dead:
            del self._pending[reply]
            if not reply.done():
                reply.set_result(result)

    def cut(self) -> None:
        """Everything in flight is unknown; half of the time it does not arrive any more."""
        if self.dead or not self._pending:
            return
        if self.net.rng.random() < 0.5:
            self._vanish[0] += 1
        pending, self._pending = self._pending, {}
        for reply in pending:
            if not reply.done():
                reply.set_exception(Unavailable("the link was cut", code="CUT", unknown=True))
                reply.exception()
        self.on_cut()

    def die(self) -> None:
        """Its process was killed; what is under way arrives or does not, and a copy of the last
        call does late."""
        net = self.net
        if net.rng.random() < 0.5:
            self._vanish[0] += 1
        if self._last is not None and not self.dead:
            at = net.loop.now + net.rng.uniform(0.1, 2.2) * net.lease_s
            net.loop.call_at(at, self._copy, *self._last)
        self.dead = True


class Network:
    """One server, its clock and its model; and the weather."""

    def __init__(self, driver: SimDriver, loop: SimLoop, rng: random.Random) -> None:
        self.driver = driver
        self.loop = loop
        self.rng = rng
        self.weather = Weather()
        self.lease_s = 2.0
        self.holds = False
        self.down = self.strict = False
        self.apart: set[str] = set()
        self.seen: Counter[str] = driver.seen
        self.inboxes: dict[str, float] = {}
        self.orphaned: set[str] = set()
        self.answers: dict[str, tuple[int, str]] = {}
        self.failure: BaseException | None = None
        self.over: Future = loop.create_future()
        self._blocked: dict[Callable[[], bool], None] = {}
        self._ears: dict[tuple[str, int], Callable[[bytes], None]] = {}

    def note(self, line: str) -> None:
        """Into the history."""
        self.driver.log.append(f"{self.loop.now:.6f} {line}")

    def fate(self, link: str) -> str:
        """What becomes of the next call of a link."""
        if link.split("/")[0] in self.apart:
            return "lost"
        dice, weather = self.rng.random(), self.weather
        for fate in ("lost", "late", "mute", "silent"):
            dice -= getattr(weather, fate)
            if dice < 0:
                self.seen[f"request {fate}"] += 1
                return fate
        return ""

    def isolate(self, node: str) -> None:
        """A process does not reach Redis for a while."""
        self.note(f"{node} is cut off")
        self.apart.add(node)
        self.seen["partition"] += 1
        seconds = self.rng.choice([0.4, 1.2, 1.8]) * self.lease_s
        self.loop.call_later(seconds, self.apart.discard, node)

    def guard(self, run: Callable[[], Any]) -> Any:
        """Run at the server; what it or the model refuses ends the whole run."""
        try:
            if self.failure is None:
                self._clock()
                return run()
        except Exception as error:
            self.fail(error)
        return None

    def fail(self, error: BaseException) -> None:
        """Something broke a rule."""
        if self.failure is None:
            self.failure = error
            if not self.over.done():
                self.over.set_result(None)

    def _clock(self) -> None:
        now_ms = START_MS + int(self.loop.now * 1000)
        if now_ms > self.driver.now_ms:
            self.driver.tick(now_ms - self.driver.now_ms)
        for caller, until in list(self.inboxes.items()):
            if until + ORPHAN_S < self.loop.now:
                del self.inboxes[caller]
                self.orphaned.add(caller)
                self.seen["inbox ran out"] += 1
                self.driver.delete_inbox(caller)
            elif until < self.loop.now and caller not in self.driver.model.silent:
                self.seen["owner silent"] += 1
                expect(not self.strict, "nothing went wrong, and an owner was silent:", caller)
                self.driver.leave_inbox(caller)

    def script(self, verb: str, args: tuple[Any, ...]) -> Any:
        """One script call; who waits for what it changed hears of it."""
        reply = self.driver.call(verb, *args)
        if verb == "attach":
            caller = text(args[0])
            self.inboxes[caller] = self.loop.now + self.driver.model.conf.lease_ms / 1000
        elif verb == "publish" and reply[0] == b"OK":
            for name, fence, word, said in zip(
                args[4::4], args[5::4], args[6::4], reply[3], strict=True
            ):
                if said == b"OK":
                    self.answers.setdefault(text(name), (int(fence), text(word)))
        for task in self.driver.model.in_state("running") if self.holds else ():
            self.answers[task.id] = (task.fence, "done")
        self.wake()
        for caller, message in self.driver.given():
            for (name, _), publish in list(self._ears.items()):
                if name == caller:
                    publish(message)
        return reply

    def listen(self, caller: str, socket: int, publish: Callable[[bytes], None]) -> None:
        """The server counts this socket among those that listen for the caller."""
        self._ears[caller, socket] = publish
        self.driver.listen(caller)

    def listen_no_more(self, caller: str, socket: int) -> None:
        """It counts the socket no longer."""
        self._ears.pop((caller, socket), None)
        if not any(name == caller for name, _ in self._ears):
            self.driver.listen_no_more(caller)

    def plain(self, words: tuple[Any, ...]) -> Any:
        """One plain command; its key is given without the prefix."""
        self.driver.log.append(f"{words!r}")
        return self.driver.plain(words[0], PREFIX + words[1], *words[2:])

    def block(self, look: Callable[[], bool]) -> Callable[[], None]:
        """Have `look` called after each change until it says that it is served; the undoing."""
        self._blocked[look] = None

        def undo() -> None:
            self._blocked.pop(look, None)

        return undo

    def wake(self) -> None:
        """Serve blocked readers in the order in which they came."""
        for look in list(self._blocked):
            if look():
                self._blocked.pop(look, None)

    def entries(self, caller: str, after: str) -> list[list[Any]]:
        """What XREAD gives: entries behind an id."""
        found = []
        for entry, pairs in self.driver.snap.streams.get(f"inbox:{caller}", []):
            if _order(entry) > _order(after):
                flat = [part for name, value in pairs for part in (name.encode(), value)]
                found.append([entry.encode(), flat])
        return found


def _order(entry: str) -> tuple[int, int]:
    ms, _, sequence = entry.partition("-")
    return int(ms), int(sequence or 0)
