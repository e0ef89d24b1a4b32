"""Stories of workers that find nothing to do: their claims stand, and some are given something."""

from __future__ import annotations

from dataclasses import replace

from .actions import Kind
from .stories import WORKERS, Stories

# Nobody ever listens for the last one.
TOPS = {**WORKERS, "x9": 9}


class Idle(Stories):
    """Clients of which some let their claims stand."""

    def stand(self, worker: str, limit: int) -> None:
        """Claim, and let stand what is not got."""
        self.claim(worker, limit, f"{TOPS[worker]}+")

    def withdraw(self, worker: str) -> None:
        """Let nothing stand."""
        self.claim(worker, 0, TOPS[worker])

    def publish_and_stand(self, pick: int, count: int, limit: int) -> None:
        """A worker ends some of what it holds, and lets stand what it does not get for it."""
        held = sorted(self.holders().items())
        if held:
            worker, leases = held[pick % len(held)]
            self.publish(worker, leases[:count], limit=limit, top=f"{TOPS.get(worker, 9)}+")

    def serve_all(self) -> None:
        """Nothing waits, and nothing keeps new tasks from being given at once."""
        if self.model.conf.limit:
            self.configure(limit=0)
        self.claim("w9", 16)

    def given(self, owner: str, workers: list[str], slots: int, kinds: list[Kind]) -> None:
        """Some stand one after another, and something comes."""
        self.ensure_inbox(owner)
        self.serve_all()
        self.listen("w9")
        for worker in workers:
            self.stand(worker, slots)
        self.admit(owner, kinds)

    def given_twice(self, owner: str, worker: str, kinds: list[Kind]) -> None:
        """A copy of the admission arrives where the same worker stands again; then copies of the
        claims with which it stood."""
        self.given(owner, [worker], 4, kinds)
        at = len(self.sent) - 1
        self.again(at)
        self.stand(worker, 4)
        self.again(len(self.sent) - 1)
        self.again(at)
        self.again(at - 1)

    def not_given(self, owner: str, kind: Kind, why: str) -> None:
        """Somebody stands who could do it, and one thing speaks against it."""
        self.ensure_inbox(owner)
        self.listen("w9")
        self.serve_all()
        self.stand("w9", 1)
        if why == "waits":
            self.admit(owner, [kind, kind])
        if why == "attempts":
            kind = replace(kind, attempts=1)
        elif why == "capped":
            self.configure(concurrency__r1=5)
            kind = replace(kind, route="r1")
        elif why == "limit":
            self.configure(limit=9)
        elif why == "paused":
            self.configure(state="paused")
        name = self.new_id()
        if why == "place":
            self.place(owner, "take", name, kind.route)
        self.admit(owner, [kind], ids=[name])
        if why == "place":
            self.place(owner, "leave", name, kind.route)
        elif why == "paused":
            self.configure(state="open")

    def stood_too_long(self, owner: str, worker: str, kind: Kind, ms: int) -> None:
        """A claim stands for about as long as it may, and something comes."""
        self.serve_all()
        self.stand(worker, 2)
        if ms < 0:
            self.clock_back(owner, -ms)
        else:
            self.tick(ms)
            self.ensure_inbox(owner)
        self.admit(owner, [kind])
