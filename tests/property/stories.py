"""Compound actions: short stories that random single calls would almost never tell."""

from __future__ import annotations

import redis

from .actions import Clients, Kind
from .invariants import left_over
from .model import expect

WORKERS = {"w0": 0, "w3": 3, "w9": 9}
OWNERS = ("g0", "g1", "kept")


class Stories(Clients):
    """Clients whose lives go wrong in the usual ways."""

    @property
    def lease_ms(self) -> int:
        """Lease length of the queue."""
        return self.model.conf.lease_ms

    def take(self, worker: str, count: int) -> list[tuple[str, int]]:
        """What the worker, or in hold mode any owner, comes to hold."""
        if self.mode == "pull":
            return self.claim(worker, count, WORKERS[worker])
        return self.leases_of(OWNERS[count % 3])

    def work(self, owner: str, worker: str, kinds: list[Kind]) -> list[tuple[str, int]]:
        """Attach, admit, claim: something runs."""
        self.ensure_inbox(owner)
        self.admit(owner, kinds)
        if self.mode == "hold":
            return self.leases_of(owner)
        return self.claim(worker, len(kinds), WORKERS[worker])

    def finish(self, word: str = "done", limit: int = 0) -> None:
        """Everybody publishes all they hold."""
        for caller, leases in self.holders().items():
            for at in range(0, len(leases), 64):
                rows, top = leases[at : at + 64], WORKERS.get(caller, 9)
                self.publish(caller, rows, word=word, limit=limit, top=top)

    def then(self, owner: str, what: str) -> None:
        """Something happens to what runs (the first holder's leases) or waits."""
        held = sorted(self.holders().items())
        worker, leases = held[-1] if held else ("w9", [])
        if what == "cancel":
            waiting = [t.id for t in self.model.in_state("waiting")]
            if waiting:
                self.cancel(owner, waiting[-2:])
        elif not leases:
            return
        elif what == "renew":
            self.renew(worker, leases)
            self.outlast(self.lease_ms - 100)
            self.publish(worker, leases)
        elif what in {"told", "watch"}:
            names = [name for name, _ in leases]
            if what == "watch":
                self.attach("kept", *names)
            else:
                self.cancel(owner, names[:2], "expired")
            self.renew(worker, leases)
        elif what == "failed" or self.mode == "hold":
            self.publish(worker, leases, word="failed")
        else:
            self.retry(worker, leases, delay_ms=500 * (what == "due"), counted=int(what != "free"))
            self.claim("w9", 4)

    def outlast(self, ms: int) -> None:
        """Time passes with somebody sweeping often enough that it is no outage."""
        step = max(260, 2 * self.lease_ms // 5)
        while ms > 0:
            self.tick(min(step, ms))
            ms -= step
            self.sweep()

    def lost_reply(self, owner: str, worker: str, other: str, kinds: list[Kind]) -> None:
        """A claim's reply is lost; the lease ends, another claims; the old claim is sent again, and
        the old fence published."""
        leases = self.work(owner, worker, kinds)
        at = len(self.sent) - 1
        self.again(at)
        self.outlast(self.lease_ms + 300)
        if self.mode == "pull":
            self.claim(other, len(kinds), WORKERS[other])
        if other != worker or self.mode == "hold":
            self.again(at)
        if leases:
            self.publish(worker, leases)

    def crash_worker(self, owner: str, worker: str, kinds: list[Kind]) -> None:
        """The worker dies with all it holds; its leases end and others take over."""
        self.work(owner, worker, kinds)
        self.outlast(self.lease_ms + 300)
        if self.mode == "pull":
            self.claim("w9", 4)

    def zombie_publish(self, pick: int) -> None:
        """Any lease ever given out is published again."""
        if self.issued:
            caller, name, fence = self.issued[pick % len(self.issued)]
            words = self.publish(caller, [(name, fence)])
            self.seen["zombie publish"] += words == ["STALE"]

    def poison(self, owner: str, kind: Kind, how: str) -> None:
        """A task that never succeeds: it must not be tried beyond its attempts."""
        self.ensure_inbox(owner)
        self.admit(owner, [kind])
        for _ in range(kind.attempts + 1):
            leases = self.take("w9", 1)
            if not leases:
                break
            if how == "retry" and self.mode == "pull":
                self.retry("w9", leases)
            else:
                self.outlast(self.lease_ms + 300)

    def rare_sweeper(self, owner: str, worker: str, kinds: list[Kind]) -> None:
        """Somebody sweeps, but so seldom that each time looks like an outage: in the end leases
        have had their grace."""
        self.work(owner, worker, kinds)
        for _ in range(7):
            self.tick(self.lease_ms + 100)
            self.sweep()
        late = [t for t in self.model.in_state("running") if t.expiry < self.now_ms - 6000]
        expect(not late, "leases are kept for ever:", late)
        self.seen["rare sweeper"] += 1

    def outage(self, owner: str, ms: int) -> None:
        """Nobody calls for longer than half a lease; then the same owners and workers go on."""
        held = self.holders()
        self.tick(ms)
        self.ensure_inbox(owner)
        self.sweep()
        for caller, leases in held.items():
            self.renew(caller, leases)
        self.seen["outage"] += 1

    def outages(self, owner: str, worker: str, kinds: list[Kind]) -> None:
        """Three in a lease and a bit: after the last everyone has a lease to come back."""
        self.work(owner, worker, kinds)
        self.sweep()
        for _ in range(3):
            self.tick(self.lease_ms // 2 + 10)
            self.sweep()
        self.outlast(3 * self.lease_ms // 4)
        for caller, leases in self.holders().items():
            self.renew(caller, leases)
        self.seen["three outages"] += 1

    def hints_lost(self, worker: str) -> None:
        """Hints are read by workers that die; whoever changes something next hints again."""
        self.pop_hints()
        for caller, leases in list(self.holders().items())[:1]:
            if self.mode == "pull" and caller == worker:
                self.retry(caller, leases)
            else:
                self.publish(caller, leases)

    def fill_to_limit(self, owner: str, kind: Kind) -> None:
        """More than fits: in the queue, in the route, among the running."""
        self.ensure_inbox(owner)
        self.admit(owner, [kind] * 8)
        if self.mode == "pull":
            self.claim("w9", 8)
            self.claim("w3", 8, 3)

    def drain(self) -> None:
        """Everything comes to its end; nothing is left that has no life of its own."""
        model = self.model
        if model.conf.state == "paused":
            self.configure(state="open")
        for name, place in list(model.places.items()):
            self.place(place.caller, "leave", name, place.route)
        for _ in range(60):
            if not model.tasks:
                break
            self.tick(max(260, self.lease_ms // 4))
            self.sweep()
            for task in list(model.in_state("due"))[:4]:
                self.cancel(task.owner or "g0", [task.id])
            if self.mode == "pull":
                self.claim("w9", 16)
            self.finish()
        expect(not model.tasks, "these never end:", list(model.tasks.values()), self.history())
        left = left_over(self.snap)
        expect(not left, "left behind:", left, self.history())
        self.seen["drained"] += 1

    def deadline_race(self, owner: str, kind: Kind, off: int) -> None:
        """The clock stands right before, at, or behind the last ms of a waiter."""
        self.ensure_inbox(owner)
        words = self.admit(owner, [kind])
        self.outlast(max(0, kind.wait_ms - 2))
        task = self.model.tasks.get(f"t{self.made:021d}")
        if words == ["OK"] and task and task.state == "waiting":
            self.tick(task.wait_until - self.now_ms + off)
            self.seen[f"deadline race {off:+d}"] += 1
        self.take("w9", 4)

    def owner_dies(self, owner: str, ms: int, how: str = "gone") -> None:
        """Once a grace is over, what waits for it is not leased."""
        self.sweep()
        self.lose_owner(owner, how)
        self.outlast(ms)
        self.take("w9", 8)
        self.seen["owner died"] += 1

    def answer_unread(self, owner: str, worker: str, kinds: list[Kind]) -> None:
        """The owner is not heard of for a lease, and comes back: its answers lie there."""
        self.work(owner, worker, kinds)
        self.leave_inbox(owner)
        self.finish()
        self.attach(owner)
        self.seen["answer unread"] += 1

    def watchers_die(self, owner: str, watcher: str, kinds: list[Kind], ms: int) -> None:
        """The tasks of a dead owner are served for as long as somebody who watches them lives."""
        self.ensure_inbox(owner)
        self.admit(owner, kinds)
        self.attach(watcher, *[t.id for t in self.model.tasks.values() if t.owner == owner][:64])
        self.sweep()
        self.delete_inbox(owner)
        self.take("w9", 1)
        self.delete_inbox(watcher)
        self.outlast(ms)
        self.take("w9", 8)
        self.seen["watchers died"] += 1

    def revive_as_known(self, owner: str) -> None:
        """A letter is to come back under an id that a result is kept for, and under a new one."""
        self.ensure_inbox(owner)
        self.admit(owner, [Kind(keep_s=60), Kind(attempts=1)])
        held = self.claim("w9", 8)
        if len(held) > 1:
            self.publish("w9", held[:1])
            self.retry("w9", held[1:])
            known = next(iter(self.model.results), self.new_id())
            self.call("revive", held[-1][0], known, held[-1][0], self.new_id())

    def named_twice(self, owner: str, options: str) -> None:
        """An option stands twice: refused before anything is written."""
        self.ensure_inbox(owner)
        before = self.refresh().content()
        kind = Kind(options=f"{options};{options}")
        try:
            self.raw("admit", owner, 0, self.mode, "0", 0, 1, *kind.args(), 1, self.new_id(), "")
        except redis.ResponseError as error:
            expect(str(error).startswith("BADARG options"), "refused with", error)
        else:
            expect(False, "an option that stands twice was taken:", options)
        expect(self.refresh().content() == before, "refused, and yet something changed")
        self.seen["option named twice"] += 1

    def cap_moves(self, owner: str, route: str, first: int, second: int, kinds: list[Kind]) -> None:
        """A concurrency limit comes, changes, goes, while tasks of the route wait and run."""
        self.configure(**{f"concurrency__{route}": first})
        self.work(owner, "w9", kinds)
        self.take("w9", 2)
        self.pop_hints()
        self.configure(**{f"concurrency__{route}": second})
        self.take("w9", 4)

    def place_cycle(self, owner: str, route: str, kinds: list[Kind]) -> None:
        """A place is taken, handed on to a task, to a second one, and left."""
        self.ensure_inbox(owner)
        name = self.new_id()
        if self.place(owner, "take", name, route) != "OK":
            return
        first, second = (
            Kind(level=k.level, route=route, options=f"place={name}") for k in kinds[:2]
        )
        self.admit(owner, [first], ids=[name])
        self.take("w9", 1)
        if len(kinds) > 2:
            self.finish()
        self.admit(owner, [second], ids=[self.new_id()])
        made = f"t{self.made:021d}"
        holder = made if made in self.model.places else name
        self.place(owner, "leave", holder, route)
        self.place(owner, "leave", holder, route)

    def place_orphaned(self, owner: str, route: str, how: str = "gone") -> None:
        """The owner of a place dies; its room is back after a lease."""
        self.ensure_inbox(owner)
        if self.place(owner, "take", self.new_id(), route) == "OK":
            self.lose_owner(owner, how)
            self.outlast(2 * self.lease_ms + 600)

    def cascade(self, owner: str, route: str, kinds: list[Kind]) -> None:
        """Many wait for one slot, then the limit opens."""
        self.configure(limit=1)
        self.work(owner, "w9", kinds)
        self.work(owner, "w9", kinds)
        self.pop_hints()
        self.configure(limit=8)
        self.take("w9", 8)
