"""The checker: a sound history passes, and each thing that can go wrong in one is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .bounds import ALL, check
from .checks import Report, Rules
from .history import Event
from .story import Stories

MS = 1_000_000
S = 1_000_000_000
LEASE_US = 2_000_000
RULES = Rules(lease_s=2.0)
History = list[Event]
Break = Callable[[History], Any]


def run(n: str, at_ms: int, fence: int, *, by: str = "w1", ms: int = 10) -> History:
    """A claim, its effect and its publish; `fence` in ms."""
    task_id, fence, t = f"id-{n}", fence * 1000, at_ms * MS
    lease = [task_id, fence]
    tasks = [[task_id, fence, 1, 3, "work"]]
    return [
        {"t": t, "p": by, "e": "claim", "asked": t - MS, "tasks": tasks},
        {"t": t + 1, "p": by, "e": "start", "n": n, "id": task_id, "fence": fence},
        {"t": t + 2, "p": "b", "e": "effect", "n": n, "id": task_id, "fence": fence, "by": by}
        | {"run": fence},
        {"t": t + ms * MS, "p": "b", "e": "effected", "n": n, "run": fence},
        {"t": t + ms * MS + 1, "p": by, "e": "ending", "leases": [lease]},
        {"t": t + ms * MS + 2, "p": by, "e": "ended", "leases": [[*lease, "OK"]]},
    ]


def asked(n: str, at_ms: int, *, level: int = 3, kind: str = "submit") -> History:
    """A submission and its acknowledgement a millisecond later."""
    t = at_ms * MS
    return [
        {"t": t, "p": "c1", "e": "submit", "n": n, "kind": kind, "level": level, "deadline_s": 5.0},
        {"t": t + MS, "p": "c1", "e": "admit", "n": n, "id": f"id-{n}"},
    ]


def told(n: str, at_ms: int, word: str = "done", **fields: Any) -> Event:
    return {"t": at_ms * MS, "p": "c1", "e": "end", "n": n, "word": word, "got": n, **fields}


def fault(what: str, target: str, begin_ms: int, end_ms: int) -> History:
    """Something broken for a while."""
    base = {"p": "conductor", "e": "fault", "what": what, "target": target}
    return [{**base, "t": begin_ms * MS, "on": True}, {**base, "t": end_ms * MS, "on": False}]


REST: Event = {"t": 99 * S, "p": "conductor", "e": "rest", "left": {"waiting": 0, "running": 0}}


def sound() -> History:
    """Two tasks that went well, and one that was run again after its worker was killed."""
    killed = [event for event in run("c", 30, 30) if event["e"] in ("claim", "start", "effect")]
    return [
        *asked("a", 0),
        *asked("b", 5),
        *run("a", 10, 10),
        *run("b", 12, 12),
        told("a", 25),
        told("b", 26),
        *asked("c", 27),
        *killed,
        *fault("kill", "w1", 40, 41),
        *run("c", 2100, 2100, by="w2"),
        told("c", 2120),
        REST,
    ]


def verdict(history: History, rules: Rules = RULES) -> Report:
    """As the rows ask for it."""
    return check(Stories(sorted(history, key=lambda event: event["t"])), rules)


def caught(history: History, rules: Rules = RULES) -> set[str]:
    return {finding.check for finding in verdict(history, rules).findings}


def drop(**like: Any) -> Break:
    """A break that removes events."""

    def apply(history: History) -> None:
        kept = [e for e in history if any(e.get(k) != v for k, v in like.items())]
        assert len(kept) < len(history), "nothing was broken"
        history[:] = kept

    return apply


def add(*events: Event) -> Break:
    """A break that adds events."""
    return lambda history: history.extend(events)


def change(fields: dict[str, Any], **like: Any) -> Break:
    """A break that changes events."""

    def apply(history: History) -> None:
        changed = [{**e, **fields} if _is(e, like) else e for e in history]
        assert changed != history, "nothing was broken"
        history[:] = changed

    return apply


def _is(event: Event, like: dict[str, Any]) -> bool:
    return all(event.get(name) == value for name, value in like.items())


def test_a_sound_history_passes_and_is_counted() -> None:
    assert (report := verdict(sound())).findings == []
    assert (report.tasks, report.lost, report.duplicates, report.allowed) == (3, 0, 1, 1)
    assert report.said == {"done": 3}
    assert report.recovery == [pytest.approx(2.06, abs=0.01)]


BROKEN: dict[str, tuple[str, Break]] = {
    "an answer that never came": ("C1", drop(e="end", n="a")),
    "admitted, then unavailable": ("C1", change({"word": "unavailable"}, e="end", n="a")),
    "admitted, then refused": ("C1", change({"word": "refused"}, e="end", n="a")),
    "cancelled, and nobody left": ("C1", change({"word": "cancelled"}, e="end", n="a")),
    "expired without a reason": ("C1", change({"word": "expired"}, e="end", n="a")),
    "lost, and no worker died": ("C1", change({"word": "lost"}, e="end", n="a")),
    "loss of state without a cause": ("C1", change({"word": "state-lost"}, e="end", n="a")),
    "run and never submitted": ("C2", add(*run("x", 50, 50))),
    "refused, and run": (
        "C2",
        add(*asked("r", 50)[:1], told("r", 60, "refused"), *run("r", 52, 52)),
    ),
    "surely not sent, and run": (
        "C2",
        add(
            *asked("r", 50, kind="call")[:1],
            told("r", 60, "unavailable", unknown=False),
            *run("r", 52, 52),
        ),
    ),
    "run twice without a fault": ("C3", add(*run("a", 2500, 2500, by="w2"))),
    "run twice, another one was killed": ("C3", change({"target": "w9"}, e="fault")),
    "two publishes taken": ("C4", add(*run("b", 3000, 3000, by="w2"))),
    "an old fence taken": (
        "C4",
        add({"t": 45 * MS, "p": "w1", "e": "ended", "leases": [["id-c", 30_000, "OK"]]}),
    ),
    "two answers": ("C4", add(told("a", 40))),
    "answered and never run": ("C4", drop(e="effect", n="a")),
    "a lease that ended too soon": (
        "C5",
        change({"tasks": [["id-c", 500_000, 2, 3, "work"]]}, e="claim", p="w2"),
    ),
    "an older one overtaken": (
        "C6",
        change({"tasks": [["id-a", 13_000, 1, 3, "work"]]}, e="claim", t=10 * MS),
    ),
    "another's answer": ("C7", change({"got": "b"}, e="end", n="a")),
    "an answer of nobody": ("C7", change({"got": ""}, e="end", n="a")),
    "a task left at rest": ("C11", change({"left": {"waiting": 1}}, e="rest")),
    "a key left at rest": ("C11", change({"left": {"keys": ["peak:{q}:x"]}}, e="rest")),
    "nobody looked": ("C11", drop(e="rest")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_caught(name: str) -> None:
    expected, apply = BROKEN[name]
    history = sound()
    apply(history)
    assert expected in caught(history)


def test_a_more_urgent_one_overtaken() -> None:
    history = [*sound(), *asked("late", 3000, level=5), *asked("urgent", 3001, level=1)]
    history += [*run("late", 3010, 3010), *run("urgent", 3020, 3020)]
    history += [told("late", 3050), told("urgent", 3051)]
    assert caught(history) == {"C6"}
    assert caught(history, Rules(lease_s=2.0, order=False)) == set()


def test_one_that_was_not_in_line_yet_is_not_overtaken() -> None:
    history = [*sound(), *asked("late", 3000, level=5), *asked("urgent", 3009, level=1)]
    history += [*run("late", 3010, 3010), *run("urgent", 3020, 3020)]
    history += [told("late", 3050), told("urgent", 3051)]
    assert caught(history) == set()


def test_more_at_one_time_than_the_limit() -> None:
    assert caught(sound(), Rules(lease_s=2.0, limit=1)) == {"C8"}
    assert caught(sound(), Rules(lease_s=2.0, limit=2)) == set()


def test_a_run_whose_lease_has_ended_does_not_count_against_the_limit() -> None:
    history = [*asked("z", 0), *run("z", 10, 10, ms=3000)[:4], *fault("stop", "w1", 20, 2900)]
    history += [*run("z", 2500, 2500, by="w2"), told("z", 2600), REST]
    report = verdict(history, Rules(lease_s=2.0, limit=1))
    assert report.findings == []
    assert report.seen["overlapping run"] == 1


def test_a_run_ends_with_its_process() -> None:
    history = [*asked("z", 0), *asked("y", 1), *run("z", 10, 10)[:3]]
    history += [*fault("kill", "w1", 20, 21), *run("y", 30, 30, by="w2"), told("y", 50)]
    history += [*run("z", 2500, 2500, by="w2"), told("z", 2600), REST]
    assert caught(history, Rules(lease_s=2.0, limit=1)) == set()


def takes(count: int, every_ms: int) -> History:
    """Tokens that were given."""
    return [
        {"t": t + MS, "p": "c1", "e": "take", "asked": t, "allowed": True}
        for t in (index * every_ms * MS for index in range(count))
    ]


def test_more_tokens_than_came() -> None:
    rules = Rules(lease_s=2.0, bucket=(10.0, 5))
    assert caught([*sound(), *takes(30, 100)], rules) == set()
    assert caught([*sound(), *takes(30, 50)], rules) == {"C9"}


def test_a_late_answer_and_the_lag_that_excuses_it() -> None:
    late = [*sound(), *asked("l", 3000, kind="call"), *run("l", 8400, 8400), told("l", 8500)]
    assert caught(late) == {"C10"}
    lag: Event = {"t": 8500 * MS, "p": "c1", "e": "lag", "ms": 400.0}
    assert caught([*late, lag]) == set()
    assert caught([*late, {**lag, "p": "c2"}]) == {"C10"}


def wiped(told_ms: int) -> History:
    """A task that is lost to a FLUSHALL, and when its waiter heard."""
    flush = fault("wiped", "*", 3010, 3020)
    return [*sound(), *asked("f", 3000), *flush, told("f", told_ms, "state-lost")]


def test_lost_data_is_excused_where_it_is_said_in_time() -> None:
    rules = Rules(lease_s=2.0, lost_by=("wiped",))
    report = verdict(wiped(4900), rules)
    assert (report.findings, report.lost) == ([], 0)
    assert caught(wiped(5200), rules) == {"C10"}
    assert caught(wiped(4900)) == {"C1"}


def test_lost_data_does_not_excuse_another_time() -> None:
    rules = Rules(lease_s=2.0, lost_by=("wiped",))
    history = [*sound(), *fault("wiped", "*", 3010, 3020)]
    change({"word": "state-lost"}, e="end", n="a")(history)
    assert caught(history, rules) == {"C1"}


def test_lost_is_an_outcome_where_each_attempt_went_down() -> None:
    history = [event for event in sound() if event["p"] != "w2" and event["t"] < 2 * S]
    history += [told("c", 2120, "lost"), REST]
    assert caught(history) == set()


def test_lost_is_an_outcome_where_its_worker_died_before_it_wrote_of_the_lease() -> None:
    unread = [*asked("l", 40), told("l", 2120, "lost"), REST]
    assert caught([*sound()[:-1], *unread]) == set()
    early = [*asked("l", 5000), told("l", 7100, "lost"), REST]
    assert caught([*sound()[:-1], *early]) == {"C1"}


def test_a_fault_that_excuses_nothing_excuses_nothing() -> None:
    assert caught(sound(), Rules(lease_s=2.0, doubles_by=())) == {"C3"}


def test_recovery_that_took_too_long() -> None:
    assert caught(sound(), Rules(lease_s=2.0, recovery_s=2.5)) == set()
    assert caught(sound(), Rules(lease_s=2.0, recovery_s=2.0)) == {"C12"}


def test_a_run_that_met_nothing_proves_nothing() -> None:
    assert caught(sound(), Rules(lease_s=2.0, sometimes=("leased again",))) == set()
    assert caught(sound(), Rules(lease_s=2.0, sometimes=("stale publish",))) == {"C13"}


def test_expired_is_an_end_where_the_time_was_over_and_nothing_was_done() -> None:
    early = [*sound(), *asked("e", 3000), told("e", 7000, "expired")]
    assert caught(early) == {"C1"}
    assert caught([*sound(), *asked("e", 3000), told("e", 8000, "expired")]) == set()
    done = [*sound(), *asked("e", 3000), *run("e", 4000, 4000), told("e", 8000, "expired")]
    assert caught(done) == {"C1"}


def test_every_check_is_run() -> None:
    assert len(ALL) == 14
