"""Random single calls: the rules that need no story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pyclient.scripts import Script

from .actions import Kind
from .stories import OWNERS, WORKERS, Stories

SEEN: Counter[str] = Counter()


def fresh_counters() -> Counter[str]:
    """The counters of all machines, at zero."""
    SEEN.clear()
    return SEEN


owners = st.sampled_from(OWNERS)
losses = st.sampled_from(["gone", "silent"])
workers = st.sampled_from(sorted(WORKERS))
routes = st.sampled_from(["r0", "r1", "r2"])
picks = st.integers(0, 999)
kinds = st.builds(
    Kind,
    level=st.sampled_from([3, 0, 4, 9]),
    route=routes,
    tenant=st.sampled_from(["", "acme"]),
    wait_ms=st.sampled_from([60_000, 5_000, 400, 1]),
    run_ms=st.sampled_from([60_000, 1_500, 300]),
    attempts=st.sampled_from([2, 1, 3]),
    keep_s=st.sampled_from([0, 0, 60]),
)
batches = st.lists(kinds, min_size=1, max_size=4)
endings = st.sampled_from("retry free due renew cancel told failed watch".split())


class Line(RuleBasedStateMachine):
    """One queue under random use; subclasses fix the mode and where it runs."""

    mode: ClassVar[str] = "pull"
    client: ClassVar[redis.Redis]
    scripts: ClassVar[Mapping[str, Script]]
    stories: ClassVar[type[Stories]] = Stories

    def __init__(self) -> None:
        super().__init__()
        self.line = self.stories(self.client, self.scripts, SEEN)

    @initialize(
        lease=st.sampled_from([1000, 2000]),
        limit=st.sampled_from([0, 2, 3]),
        capacity=st.sampled_from([0, 6, 12]),
        step=st.sampled_from(["strict", 0, 500]),
        cap=st.sampled_from([1, 2, 0]),
        room=st.sampled_from([0, 4]),
        mark=st.sampled_from([0, 3]),
    )
    def configured(
        self, lease: int, limit: int, capacity: int, step: Any, cap: int, room: int, mark: int
    ) -> None:
        """A small queue, with workers of three kinds known to it."""
        self.line.start(
            self.mode,
            lease_ms=lease,
            limit=limit,
            capacity=capacity,
            level_step_ms=step,
            concurrency__r1=cap,
            room__r2=room,
            reserve=",".join(str(mark if level > 3 else 0) for level in range(10)),
        )
        if self.mode == "pull":
            for worker, top in WORKERS.items():
                self.line.claim(worker, 1, top)

    def teardown(self) -> None:
        """Drain, and look for what was left behind."""
        if self.line.healthy and hasattr(self.line, "made"):
            self.line.drain()
            SEEN["examples"] += 1

    # Single calls.

    @rule(owner=owners, batch=batches, trim=st.integers(0, 1))
    def admit(self, owner: str, batch: list[Kind], trim: int) -> None:
        last = self.line.model.inboxes.get(owner, "0") if trim else "0"
        self.line.admit(owner, batch, trim=last)

    @rule(owner=owners, kind=kinds, cost=st.sampled_from([1, 2, 4]), two=st.integers(0, 1))
    def admit_limited(self, owner: str, kind: Kind, cost: int, two: int) -> None:
        self.line.ensure_inbox(owner)
        spec = f"take=1:{cost}" + (",2:1" if two else "")
        limited = Kind(kind.level, kind.route, options=spec)
        buckets = [("all", 3, 1_000_000, 3), ("one", 1, 700_001, 2)]
        self.line.admit(owner, [limited, limited], buckets=buckets)

    @rule(owner=owners, key=st.sampled_from("ab"), digest=st.sampled_from("xy"))
    def admit_same(self, owner: str, key: str, digest: str) -> None:
        self.line.ensure_inbox(owner)
        self.line.admit(owner, [Kind(options=f"same={key * 22}:{digest * 22}")])

    @rule(owner=owners, kind=kinds, pick=picks)
    def admit_known(self, owner: str, kind: Kind, pick: int) -> None:
        known = sorted(self.line.model.tasks) + sorted(self.line.model.results)
        if known:
            name = known[pick % len(known)]
            self.line.admit(owner, [kind, kind], ids=[name, name])

    @precondition(lambda self: self.mode == "pull")
    @rule(worker=workers, limit=st.integers(1, 6))
    def claim(self, worker: str, limit: int) -> None:
        self.line.claim(worker, limit, WORKERS[worker])

    @rule(pick=picks, count=st.integers(1, 4), word=st.sampled_from(["done", "failed"]))
    def publish(self, pick: int, count: int, word: str) -> None:
        held = sorted(self.line.holders().items())
        if held:
            caller, leases = held[pick % len(held)]
            top = WORKERS.get(caller, 9)
            self.line.publish(caller, leases[:count], word=word, limit=count - 1, top=top)

    @precondition(lambda self: self.mode == "pull")
    @rule(pick=picks, delay=st.sampled_from([0, 300, 2_000]), counted=st.integers(0, 1))
    def retry(self, pick: int, delay: int, counted: int) -> None:
        held = sorted(self.line.holders().items())
        if held:
            worker, leases = held[pick % len(held)]
            self.line.retry(worker, leases[:2] * 2, delay_ms=delay, counted=counted)

    @rule(owner=owners, pick=picks, reason=st.sampled_from(["cancelled", "expired"]))
    def cancel(self, owner: str, pick: int, reason: str) -> None:
        names = sorted(self.line.model.tasks)
        if names:
            name = names[pick % len(names)]
            self.line.cancel(owner, [name, name], reason)

    @rule(pick=picks)
    def cancel_due(self, pick: int) -> None:
        due = self.line.model.in_state("due")
        if due:
            task = due[pick % len(due)]
            self.line.cancel(task.owner or "g0", [task.id])

    @rule(pick=picks)
    def renew(self, pick: int) -> None:
        if self.line.issued:
            caller, name, fence = self.line.issued[pick % len(self.line.issued)]
            self.line.renew(caller, [(name, fence), *self.line.leases_of(caller)[:2]])

    @rule()
    def sweep(self) -> None:
        self.line.sweep()

    @rule(owner=owners, pick=picks)
    def attach(self, owner: str, pick: int) -> None:
        names = sorted(self.line.model.tasks) + sorted(self.line.model.results)
        self.line.attach(owner, *([names[pick % len(names)]] if names else []))

    @rule(pick=picks)
    def look(self, pick: int) -> None:
        names = [f"t{n:021d}" for n in range(max(1, self.line.made - 5), self.line.made + 2)]
        self.line.call("fetch", "state", *names)
        self.line.call("fetch", "position", *names)
        self.line.call("gauge")

    @rule(cost=st.sampled_from([1, 2, -1, 5]), ms=st.sampled_from([0, 1, 900]))
    def limit(self, cost: int, ms: int) -> None:
        self.line.tick(ms)
        self.line.call("limit", "all", 3, 1_000_000, 3, cost, "user", 1, 333_333, 4, 1)

    @rule(ms=st.sampled_from([1, 249, 250, 251, 499, 501, 1_001, 2_500]))
    def time_passes(self, ms: int) -> None:
        self.line.tick(ms)

    @rule(state=st.sampled_from(["paused", "closed"]), owner=owners, kind=kinds)
    def closed_for_a_while(self, state: str, owner: str, kind: Kind) -> None:
        self.line.ensure_inbox(owner)
        self.line.configure(state=state, reason="lunch")
        self.line.admit(owner, [kind])
        self.line.take("w9", 2)
        self.line.configure(state="open", reason="")

    @rule(pick=picks)
    def late_copy(self, pick: int) -> None:
        if self.line.sent:
            self.line.again(pick)

    @rule(owner=owners)
    def sent_twice(self, owner: str) -> None:
        if self.line.sent:
            self.line.again(len(self.line.sent) - 1)

    @precondition(lambda self: self.mode == "pull")
    @rule(pick=picks)
    def revive(self, pick: int) -> None:
        dead = sorted(self.line.model.dead) or ["t" + "9" * 21]
        name = dead[pick % len(dead)]
        self.line.call("revive", name, self.line.new_id(), name, self.line.new_id())
