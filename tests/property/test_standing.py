"""Claims that stand, case by case: each call explained by the model, what is given is heard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyclient.model import Leased
from tests.servers import Server
from worker_app.standing import given_of

from .actions import Kind
from .driver import PREFIX, scripts_with_test_clock
from .idle import Idle
from .standing import STAND_MS, STANDS


@pytest.fixture
def queue(server: Server) -> Iterator[Idle]:
    """A pull queue in which w9 listens and stands for two."""
    line = Idle(server.client(), scripts_with_test_clock())
    line.start("pull", lease_ms=60_000)
    line.attach("g0")
    line.listen("w9")
    line.stand("w9", 2)
    yield line
    line.ears.close()
    line.client.flushall()


def test_a_batch_is_given_whole_and_in_its_order(queue: Idle) -> None:
    queue.admit("g0", [Kind(level=9, tenant="acme"), Kind(route="r2", run_ms=300)])
    assert [fence for _, fence in queue.leases_of("w9")] == [59_000_000_000_002, 59_000_000_000_003]
    assert queue.publish("w9", queue.leases_of("w9")) == ["OK", "OK"]
    assert not queue.model.stands


def test_what_is_given_reads_as_what_is_claimed(
    queue: Idle, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Leased] = []
    monkeypatch.setattr(queue, "note_given", lambda _, message: told.extend(given_of(message)))
    queue.admit("g0", [Kind(), Kind(level=0, tenant="acme")])
    first, second = told
    assert (first.id, first.attempt, first.route, first.tenant) == (f"t{1:021d}", 1, "r0", "")
    assert (second.level, second.tenant, second.body) == (0, "acme", b"body of 2\r\n\0")
    assert queue.leases_of("w9") == [(task.id, task.fence) for task in told]


def test_a_claim_is_given_to_once(queue: Idle) -> None:
    queue.admit("g0", [Kind()])
    queue.admit("g0", [Kind()])
    assert [task.id for task in queue.model.in_state("waiting")] == [f"t{2:021d}"]


def test_the_oldest_that_fits_and_is_heard_is_given_to(queue: Idle) -> None:
    queue.withdraw("w9")
    for worker, slots in (("w0", 4), ("w3", 1), ("x9", 4), ("w9", 2)):
        queue.stand(worker, slots)
    queue.listen("w0")
    queue.listen("w3")
    queue.admit("g0", [Kind(), Kind()])
    assert len(queue.leases_of("w9")) == 2
    assert [s.caller for s in queue.model.stands] == ["w0", "w3"]


def test_where_nobody_hears_the_line_is_as_ever(queue: Idle) -> None:
    queue.listen_no_more("w9")
    queue.admit("g0", [Kind()])
    assert not queue.model.stands
    assert queue.claim("w9", 1) == [(f"t{1:021d}", 59_000_000_000_001)]


def test_no_more_than_sixteen_stand(queue: Idle) -> None:
    for n in range(STANDS):
        queue.claim(f"c{n}", 1, "9+")
    assert len(queue.model.stands) == STANDS
    assert queue.model.stands[-1].caller == f"c{STANDS - 2}"
    queue.tick(STAND_MS)
    queue.claim("late", 1, "9+")
    assert [s.caller for s in queue.model.stands] == ["late"]


def test_a_copy_gives_nothing_and_lets_nothing_stand(queue: Idle) -> None:
    queue.admit("g0", [Kind()])
    queue.stand("w9", 2)
    queue.again(len(queue.sent) - 2)
    assert len(queue.leases_of("w9")) == 1
    queue.admit("g0", [Kind()])
    queue.again(len(queue.sent) - 2)
    assert not queue.model.stands


def test_publish_lets_stand_what_it_did_not_get(queue: Idle) -> None:
    queue.admit("g0", [Kind()])
    queue.publish_and_stand(0, 1, 3)
    assert [(s.caller, s.slots) for s in queue.model.stands] == [("w9", 3)]
    queue.admit("g0", [Kind()] * 3)
    assert len(queue.leases_of("w9")) == 3


def test_publish_without_a_plus_leaves_what_stands(queue: Idle) -> None:
    queue.admit("g0", [Kind()])
    queue.stand("w9", 2)
    queue.publish("w9", queue.leases_of("w9"), limit=1)
    assert [(s.caller, s.slots) for s in queue.model.stands] == [("w9", 2)]


def test_a_task_of_an_open_place_is_not_given(queue: Idle) -> None:
    name = queue.new_id()
    queue.place("g0", "take", name, "r0")
    queue.admit("g0", [Kind()], ids=[name])
    assert [task.id for task in queue.model.in_state("waiting")] == [name]


def test_what_is_refused_is_not_given_with_the_rest(queue: Idle) -> None:
    queue.configure(room__r2=1)
    words = queue.admit("g0", [Kind(route="r2")] * 2 + [Kind()])
    assert [word.split()[0] for word in words] == ["OK", "ROOM", "OK"]
    assert len(queue.leases_of("w9")) == 2


def test_a_task_whose_message_was_lost_comes_back(queue: Idle) -> None:
    """Whoever was given it never says a word: it runs again when its lease has ended."""
    queue.configure(lease_ms=1000)
    queue.admit("g0", [Kind()])
    queue.outlast(1_400)
    assert queue.claim("w3", 1, 3)[0][0] == f"t{1:021d}"


def test_any_writer_of_the_clock_keeps_what_stands(queue: Idle) -> None:
    queue.configure(capacity=7)
    queue.sweep()
    queue.call("gauge")
    assert len(queue.model.stands) == 1
    clock = queue.client.get(PREFIX + "clock")
    assert isinstance(clock, bytes)
    assert clock.endswith(b"\2w9")
