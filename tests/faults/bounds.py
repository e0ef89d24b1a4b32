"""C8–C13: how much at one time, how soon, what is left, and whether the run proves anything."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from .checks import (
    Report,
    Rules,
    check_books,
    check_doubles,
    check_fences,
    check_identity,
    check_leases,
    check_lost,
    check_order,
    check_phantoms,
    held,
)
from .story import NS, Stories, seconds

_WINDOWS_S = (1, 10, 60)
_DEADLY = ("kill", "crash")


def check_concurrency(stories: Stories, rules: Rules, report: Report) -> None:
    """C8: the backend never ran more than the limit at one time, runs apart whose lease had
    ended (those are what a limit on leases can't stop)."""
    if not rules.limit:
        return
    edges: list[tuple[int, int]] = []
    for task in stories.tasks.values():
        top = max((effect.fence for effect in task.effects), default=0)
        for effect in task.effects:
            until = effect.until or stories.last
            if dead := stories.hit(effect.process, effect.at, until, _DEADLY):
                until = min(until, max(effect.at, dead.begin))
            if effect.fence < top:  # a zombie from when its successor was leased
                successor = stories.lease(effect.id, top)
                until = min(until, successor.asked if successor else until)
                report.saw("overlapping run")
            edges += [(effect.at, 1), (until, -1)]
    now = most = 0
    for _, step in sorted(edges):
        now += step
        most = max(most, now)
    report.saw("most at one time", most)
    if most > rules.limit:
        report.add("C8", f"{most} ran at one time, the limit is {rules.limit}")


def check_rate(stories: Stories, rules: Rules, report: Report) -> None:
    """C9: in no window were more tokens given than came and had collected. A take lies between
    its question and its answer, so that only those wholly inside a window count against it."""
    if rules.bucket is None:
        return
    rate, burst = rules.bucket
    takes = [
        (event["asked"], event["t"])
        for event in stories.facts
        if event["e"] == "take" and event["allowed"]
    ]
    takes.sort()
    for window in _WINDOWS_S:
        most = burst + rate * window
        for index, (begin, _) in enumerate(takes):
            end = begin + window * NS
            inside = 0
            for asked, answered in takes[index:]:
                if asked > end:
                    break
                inside += answered <= end
            if inside > most:
                report.add("C9", f"{inside} takes within {window} s, at most {most:g} were due")
                break


def check_waits(stories: Stories, rules: Rules, report: Report) -> None:
    """C10: who waits is answered by the deadline, give or take what its own process was late;
    and who is told of lost data hears it soon."""
    for task in stories.tasks.values():
        if task.ended is None:
            continue
        late = task.ended - task.submitted - int((task.deadline_s + rules.patience_s) * NS)
        if late > 0:
            late -= stories.lagged(task.client, task.submitted, task.ended)
        if late > 0 and task.kind != "submit":
            report.add("C10", f"{task.n} was answered {seconds(late)} s after its last moment")
        if task.word == "state-lost":
            report.saw("loss said aloud")
            fault = stories.hit("*", task.submitted, task.ended, rules.lost_by)
            since = max(task.submitted, fault.end if fault and fault.end < task.ended else 0)
            took = task.ended - since - stories.lagged(task.client, since, task.ended)
            if fault and took > rules.loud_s * NS:
                report.add("C10", f"{task.n} heard of the loss {seconds(took)} s after it")


def check_quiet(stories: Stories, rules: Rules, report: Report) -> None:
    """C11: at rest nothing is held, and no key, waiter or file descriptor is left."""
    rests = [event for event in stories.facts if event["e"] == "rest"]
    if not rests:
        report.add("C11", "nobody looked whether the run came to rest")
    for event in rests:
        for name, value in event["left"].items():
            if value:
                report.add("C11", f"at rest {name} is {value!r}")


def check_recovery(stories: Stories, rules: Rules, report: Report) -> None:
    """C12: how soon what a dead worker held was leased again; and after a fault of everybody,
    how soon the next task was done."""
    for lease, fault in held(stories, rules):
        after = [one for one in stories.leases[lease.id] if one.fence > lease.fence]
        if fault.target != "*" and after and lease.ended is None:
            report.recovery.append(seconds(after[0].at - fault.begin))
    done = sorted(
        task.ended for task in stories.tasks.values() if task.word == "done" and task.ended
    )
    for fault in stories.faults:
        if fault.target == "*":
            first = next((t for t in done if t >= fault.end), None)
            if first is not None:
                report.recovery.append(seconds(first - fault.end))
    if rules.recovery_s and report.recovery and max(report.recovery) > rules.recovery_s:
        report.add("C12", f"recovery took {max(report.recovery)} s, at most {rules.recovery_s:g} s")


def check_sometimes(stories: Stories, rules: Rules, report: Report) -> None:
    """C13: a run that never met the rare path that it is for proves nothing."""
    for event in stories.facts:
        if event["e"] == "saw":
            report.saw(event["what"], event["times"])
    for task in stories.tasks.values():
        if task.unknown:
            report.saw("unknown submit")
            if task.effects:
                report.saw("unknown submit that ran")
        if task.word == "refused":
            report.saw("refused")
    for what in rules.sometimes:
        if not report.seen.get(what):
            report.add("C13", f"the run never met {what!r}, so it proves nothing about it")


ALL = (
    check_lost,
    check_books,
    check_phantoms,
    check_doubles,
    check_fences,
    check_leases,
    check_order,
    check_identity,
    check_concurrency,
    check_rate,
    check_waits,
    check_quiet,
    check_recovery,
    check_sometimes,
)


def check(stories: Stories, rules: Rules) -> Report:
    """All checks over one history."""
    report = Report()
    for one in ALL:
        one(stories, rules, report)
    return report


def longest_gap(done: Iterable[int], since: int, until: int) -> float:
    """The longest time between the two in which nothing was done, in seconds."""
    times = sorted([since, *(t for t in done if since <= t <= until), until])
    return seconds(max(b - a for a, b in pairwise(times)))
