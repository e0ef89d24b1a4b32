"""A call sent twice, and a third time late, does what one call does; the model checks each copy:
same words, same leases (without those lost since), and not one key changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.property.actions import Kind
from tests.property.stories import Stories

Steps = Callable[[Stories], None]


def _admit(line: Stories) -> None:
    line.admit("g0", [Kind(), Kind(level=1, options="same=aaaa:bbbb"), Kind(route="r1")])


def _claim(line: Stories) -> None:
    _admit(line)
    line.claim("w9", 2)


def _publish(line: Stories) -> None:
    _claim(line)
    line.publish("w9", line.leases_of("w9"), limit=2)


def _retry(line: Stories) -> None:
    _claim(line)
    line.retry("w9", line.leases_of("w9"), delay_ms=200)


def _cancel(line: Stories) -> None:
    _claim(line)
    line.cancel("g0", sorted(line.model.tasks))


def _place(line: Stories) -> None:
    line.place("g0", "take", line.new_id(), "r0")


def _left(line: Stories) -> None:
    _place(line)
    line.place("g0", "leave", f"t{line.made:021d}", "r0")


NUMBERED: dict[str, Steps] = {
    "admit": _admit,
    "claim": _claim,
    "publish": _publish,
    "retry": _retry,
    "cancel": _cancel,
    "place": _place,
    "leave": _left,
}


def begin(line: Stories, mode: str) -> None:
    """A small queue with an owner."""
    line.start(mode, lease_ms=1000, limit=2, concurrency__r1=1)
    line.attach("g0")
    if mode == "pull":
        line.claim("w9", 1)


@pytest.mark.parametrize("flush", [False, True], ids=["", "forgetful"])
@pytest.mark.parametrize("name", sorted(NUMBERED))
def test_sent_twice_and_a_third_time_late(line: Stories, name: str, flush: bool) -> None:  # noqa: FBT001
    begin(line, "pull")
    line.forgetful = flush
    NUMBERED[name](line)
    at = len(line.sent) - 1
    line.again(at)
    line.tick(100)
    line.again(at)
    _end_all(line)
    line.again(at)
    line.drain()


def _end_all(line: Stories) -> None:
    """All tasks end by calls of another caller, so that the copy still has the last number."""
    line.claim("w3", 8, 3)
    line.outlast(1300)
    for task in list(line.model.tasks.values()):
        line.cancel("kept", [task.id])
    line.outlast(1300)
    assert not line.model.tasks


@pytest.mark.parametrize("name", ["admit", "place", "leave"])
def test_in_hold_mode_too(line: Stories, name: str) -> None:
    begin(line, "hold")
    NUMBERED[name](line)
    at = len(line.sent) - 1
    line.again(at)
    line.outlast(1300)
    line.again(at)
    assert line.seen["replay without a lost lease"] == (name == "admit")
    line.drain()


def test_publish_and_cancel_in_hold_mode(line: Stories) -> None:
    begin(line, "hold")
    _admit(line)
    line.publish("g0", line.leases_of("g0")[:1])
    line.again(len(line.sent) - 1)
    line.cancel("g0", sorted(line.model.tasks))
    line.again(len(line.sent) - 1)
    line.drain()


@pytest.mark.parametrize("name", sorted(NUMBERED))
def test_a_copy_behind_a_later_call_does_nothing(line: Stories, name: str) -> None:
    begin(line, "pull")
    NUMBERED[name](line)
    verb, args = line.sent[-1]
    line.sent[-1] = (verb, args)
    caller = str(args[0])
    at = len(line.sent) - 1
    line.numbered("claim", caller, 1, 0)
    line.again(at)
    assert line.seen[f"old {verb}"] == 1


def test_the_number_of_another_verb_does_nothing(line: Stories) -> None:
    begin(line, "pull")
    _admit(line)
    line.same_number("claim", "g0", 1, 9)
    line.same_number("cancel", "g0", "expired", f"t{1:021d}")
    assert line.seen["old claim"] == line.seen["old cancel"] == 1


def test_number_0_is_not_numbered(line: Stories) -> None:
    begin(line, "pull")
    _admit(line)
    line.call("claim", "w9", 0, 1, 9)
    line.call("claim", "w9", 0, 1, 9)
    assert len(line.leases_of("w9")) == 2


def test_renew_attach_sweep_and_configure_may_be_repeated(line: Stories) -> None:
    begin(line, "pull")
    _claim(line)
    leases = line.leases_of("w9")
    for _ in range(2):
        line.renew("w9", leases)
        line.attach("g0", leases[0][0])
        line.attach("g1", leases[0][0])
        line.configure(limit=3)
    line.tick(300)
    line.sweep()
    before = line.refresh().content()
    line.call("sweep")
    assert line.seen["sweep at a shut gate"] == 1
    assert line.refresh().content() == before


def test_a_letter_is_revived_once(line: Stories) -> None:
    begin(line, "pull")
    line.admit("g0", [Kind(attempts=1)])
    line.retry("w9", line.claim("w9", 1))
    for _ in range(2):
        line.call("revive", f"t{1:021d}", f"t{90:021d}")
    assert (line.seen["revive OK"], line.seen["revive GONE"]) == (1, 1)


def test_an_error_records_nothing(line: Stories) -> None:
    """The number is still free: the same call, mended, runs under it."""
    begin(line, "pull")
    _admit(line)
    line.numbers["w9"] += 1
    for bad in (["65", "9"], ["1", "x"]):
        with pytest.raises(Exception, match="BADARG"):
            line.raw("claim", "w9", line.numbers["w9"], *bad)
    line.same_number("claim", "w9", 1, 9)
    assert len(line.leases_of("w9")) == 1
