"""The machine of a pull queue whose workers let their claims stand: a machine of its own, so that
the seeds of the others keep their meaning."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import rule

from .actions import Kind
from .calls import kinds, owners, picks
from .idle import TOPS, Idle
from .machine import Machine
from .stories import WORKERS

idlers = st.sampled_from(sorted(TOPS))
gifts = kinds.map(
    lambda kind: replace(kind, attempts=kind.attempts + 1, route=kind.route.replace("1", "0"))
)
REASONS = ["waits", "attempts", "capped", "limit", "paused", "place"]


class StandingMachine(Machine):
    """All that the other machines do, and claims that stand."""

    stories = Idle
    line: Idle

    def __init__(self) -> None:
        super().__init__()
        for worker in WORKERS:
            self.line.listen(worker)

    def teardown(self) -> None:
        """As the others', and nobody listens any more."""
        try:
            super().teardown()
        finally:
            self.line.ears.close()

    @rule(worker=idlers, limit=st.integers(1, 6))
    def stand(self, worker: str, limit: int) -> None:
        self.line.stand(worker, limit)

    @rule(worker=idlers)
    def withdraw(self, worker: str) -> None:
        self.line.withdraw(worker)

    @rule(pick=picks, count=st.integers(1, 3), limit=st.integers(0, 4))
    def publish_and_stand(self, pick: int, count: int, limit: int) -> None:
        self.line.publish_and_stand(pick, count, limit)

    @rule(
        owner=owners,
        workers=st.lists(idlers, max_size=3, unique=True),
        slots=st.integers(1, 4),
        batch=st.lists(gifts, min_size=1, max_size=4),
    )
    def given(self, owner: str, workers: list[str], slots: int, batch: list[Kind]) -> None:
        self.line.given(owner, [*workers, "w9"], slots, batch)

    @rule(owner=owners, worker=idlers, batch=st.lists(gifts, min_size=1, max_size=2))
    def given_twice(self, owner: str, worker: str, batch: list[Kind]) -> None:
        self.line.given_twice(owner, worker, batch)

    @rule(owner=owners, kind=gifts, reasons=st.permutations(REASONS))
    def not_given(self, owner: str, kind: Kind, reasons: list[str]) -> None:
        for why in reasons:
            self.line.not_given(owner, kind, why)

    @rule(
        owner=owners,
        worker=idlers,
        kind=gifts,
        ms=st.sampled_from([19_999, 20_000, 20_001, -1]),
    )
    def stood_too_long(self, owner: str, worker: str, kind: Kind, ms: int) -> None:
        self.line.stood_too_long(owner, worker, kind, ms)

    @rule(worker=st.sampled_from(sorted(WORKERS)), ms=st.sampled_from([0, 10]))
    def listener_dies(self, worker: str, ms: int) -> None:
        self.line.stand(worker, 2)
        self.line.listen_no_more(worker)
        self.line.tick(ms)

    @rule(worker=st.sampled_from(sorted(WORKERS)))
    def listens_again(self, worker: str) -> None:
        self.line.listen(worker)
