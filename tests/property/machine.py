"""The state machine: random calls and stories, every one of them explained by the model."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from .actions import Kind
from .calls import (
    SEEN,
    Line,
    batches,
    endings,
    fresh_counters,
    kinds,
    losses,
    owners,
    picks,
    routes,
    workers,
)

__all__ = ["SEEN", "Machine", "fresh_counters"]


class Machine(Line):
    """Single calls and stories."""

    @rule(owner=owners, worker=workers, batch=batches)
    def work(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.work(owner, worker, batch)

    @rule(owner=owners, worker=workers, batch=batches)
    def work_to_the_end(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.work(owner, worker, batch)
        self.line.tick(100)
        self.line.finish(limit=1)

    @rule(
        owner=owners,
        worker=workers,
        batch=batches,
        then=endings,
        off=st.sampled_from([0, 100, 400]),
        copy=st.integers(0, 3),
    )
    def work_then(
        self, owner: str, worker: str, batch: list[Kind], then: str, off: int, copy: int
    ) -> None:
        self.line.work(owner, worker, batch)
        self.line.tick(off)
        self.line.then(owner, then)
        self.line.copied(copy)

    @rule(owner=owners, worker=workers, other=workers, batch=batches)
    def lost_reply(self, owner: str, worker: str, other: str, batch: list[Kind]) -> None:
        self.line.lost_reply(owner, worker, other, batch)

    @rule(owner=owners, worker=workers, batch=batches)
    def crash_worker(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.crash_worker(owner, worker, batch)

    @rule(pick=picks)
    def zombie_publish(self, pick: int) -> None:
        self.line.zombie_publish(pick)

    @rule(owner=owners, kind=kinds, how=st.sampled_from(["retry", "crash"]))
    def poison(self, owner: str, kind: Kind, how: str) -> None:
        self.line.poison(owner, kind, how)

    @rule(owner=owners, ms=st.sampled_from([600, 1_100, 2_100]))
    def outage(self, owner: str, ms: int) -> None:
        self.line.outage(owner, ms)

    @rule(worker=workers)
    def pop_hints(self, worker: str) -> None:
        self.line.hints_lost(worker)

    @rule(owner=owners, kind=kinds)
    def fill_to_limit(self, owner: str, kind: Kind) -> None:
        self.line.fill_to_limit(owner, kind)

    @rule(owner=owners, kind=kinds, off=st.sampled_from([-1, 0, 1]))
    def deadline_race(self, owner: str, kind: Kind, off: int) -> None:
        self.line.deadline_race(owner, replace(kind, wait_ms=min(kind.wait_ms, 5_000)), off)

    @rule(owner=owners, ms=st.sampled_from([0, 10, 300]), batch=batches, how=losses)
    def owner_dies(self, owner: str, ms: int, batch: list[Kind], how: str) -> None:
        self.line.ensure_inbox(owner)
        self.line.admit(owner, batch)
        self.line.owner_dies(owner, ms, how)

    @rule(owner=owners, worker=workers, batch=batches)
    def answer_unread(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.answer_unread(owner, worker, batch)

    @rule(owner=owners, other=owners, batch=batches, ms=st.sampled_from([0, 10, 300]))
    def watchers_die(self, owner: str, other: str, batch: list[Kind], ms: int) -> None:
        self.line.watchers_die(owner, other, batch, ms)

    @precondition(lambda self: self.mode == "pull")
    @rule(owner=owners)
    def revive_as_known(self, owner: str) -> None:
        self.line.revive_as_known(owner)

    @rule(owner=owners, what=st.sampled_from(["place=" + "t" * 22, f"same={'a' * 22}:{'x' * 22}"]))
    def named_twice(self, owner: str, what: str) -> None:
        self.line.named_twice(owner, what)

    @rule(owner=owners, worker=workers, batch=batches)
    def rare_sweeper(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.rare_sweeper(owner, worker, batch)

    @rule(owner=owners, worker=workers, batch=batches)
    def outages(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.outages(owner, worker, batch)

    @rule(owner=owners, route=routes, first=st.integers(0, 2), second=st.integers(0, 3), ks=batches)
    def cap_moves(self, owner: str, route: str, first: int, second: int, ks: list[Kind]) -> None:
        self.line.cap_moves(owner, route, first, second, ks)

    @rule(owner=owners, batch=batches)
    def lease_runs_out(self, owner: str, batch: list[Kind]) -> None:
        self.line.work(owner, "w9", batch)
        self.line.pop_hints()
        self.line.outlast(self.line.lease_ms + 300)

    @rule(owner=owners, route=routes, batch=st.lists(kinds, min_size=2, max_size=3))
    def place_cycle(self, owner: str, route: str, batch: list[Kind]) -> None:
        self.line.place_cycle(owner, route, batch)

    @rule(owner=owners, route=routes, copy=st.integers(0, 2))
    def place_taken(self, owner: str, route: str, copy: int) -> None:
        self.line.place(owner, "take", self.line.new_id(), route)
        self.line.copied(copy)

    @rule(owner=owners, route=routes, how=losses)
    def place_orphaned(self, owner: str, route: str, how: str) -> None:
        self.line.place_orphaned(owner, route, how)

    @rule(owner=owners, route=routes, batch=batches)
    def cascade(self, owner: str, route: str, batch: list[Kind]) -> None:
        self.line.cascade(owner, route, batch)

    @rule(owner=owners, ms=st.sampled_from([300, 5_000, 3_600_000]))
    def clock_back(self, owner: str, ms: int) -> None:
        self.line.clock_back(owner, ms)

    @rule(owner=owners, worker=workers, batch=batches)
    def answers_read(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.work(owner, worker, batch)
        self.line.read_inbox(owner)
        self.line.finish()
        self.line.read_inbox(owner)
        self.line.attach(owner)

    @rule(owner=owners, batch=batches, lease=st.sampled_from([1_000, 2_000]))
    def lease_moves(self, owner: str, batch: list[Kind], lease: int) -> None:
        self.line.work(owner, "w9", batch)
        self.line.configure(lease_ms=lease)
        self.line.tick(300)
        self.line.sweep()

    @rule()
    def script_flush(self) -> None:
        self.line.script_flush()
