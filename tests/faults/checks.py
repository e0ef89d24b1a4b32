"""C1–C7: what may never happen to a task. Each check reads a history and returns findings.

The numbers are those of docs/explanation/faults.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from .story import NEVER, NS, Effect, Fault, Lease, Stories, Task, seconds

# Words that end a task in good order; the others need a reason.
FINE = ("done", "failed", "dead")
# What the queue itself counts; at rest the first is the sum of the others.
COUNTED = ("admitted", "done", "failed", "expired", "cancelled", "lost", "dead_total")


class Finding(NamedTuple):
    """One violation: which check, and what it saw."""

    check: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What this run may do beyond the contract's normal case.

    `lost_by`: faults that excuse the loss of what was admitted before their end, if it is said
    aloud; `doubles_by`: faults after which a task may run again; `words`: further outcomes that
    are right here; `limit`: tasks at the backend at one time; `order`: whether C6 holds.
    """

    lease_s: float
    lost_by: tuple[str, ...] = ()
    doubles_by: tuple[str, ...] = ("kill", "crash", "stop")
    words: tuple[str, ...] = ()
    limit: int = 0
    order: bool = True
    patience_s: float = 0.25
    loud_s: float = 2.0
    recovery_s: float = 0.0
    sometimes: tuple[str, ...] = ()
    bucket: tuple[float, int] | None = None


@dataclass
class Report:
    """What the checks found, and the counts that the table prints."""

    findings: list[Finding] = field(default_factory=list)
    lost: int = 0
    tasks: int = 0
    duplicates: int = 0
    allowed: int = 0
    said: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    recovery: list[float] = field(default_factory=list)

    def add(self, check: str, text: str) -> None:
        """Note a violation."""
        self.findings.append(Finding(check, text))

    def saw(self, what: str, times: int = 1) -> None:
        """Count a rare path (C13)."""
        self.seen[what] = self.seen.get(what, 0) + times


def check_lost(stories: Stories, rules: Rules, report: Report) -> None:
    """C1: what was admitted reaches one good outcome, or its loss is excused and said aloud."""
    for task in stories.tasks.values():
        report.tasks += 1
        report.said[task.word or "nothing"] = report.said.get(task.word or "nothing", 0) + 1
        if task.answers > 1:
            report.add("C4", f"{task.n}: {task.answers} answers to one request")
        reason = _unfit(stories, rules, task)
        if reason:
            report.lost += 1
            report.add("C1", f"{task.n} ({task.kind}): {reason}")


def _unfit(stories: Stories, rules: Rules, task: Task) -> str:
    """Why the end of a task is none that the contract knows; empty where it is one."""
    if task.ended is None:
        return "never answered"
    if task.word in FINE or task.word in rules.words:
        return ""
    if task.word == "cancelled" and task.cancelled:
        return ""
    if task.word in ("refused", "unavailable") and task.admitted is None:
        return ""
    if task.word == "state-lost" and _excused_loss(stories, rules, task):
        return ""
    if task.word == "expired":
        return _not_its_time(stories, task)
    if task.word == "lost" and _used_up(stories, rules, task):
        return ""
    return f"admitted, ended as {task.word!r}"


def _not_its_time(stories: Stories, task: Task) -> str:
    """Why a task may not end as expired. A lost one would look the same to its caller: whether
    the queue knows as many ends as it took in, its own books say (see `check_books`)."""
    assert task.ended is not None
    if task.ended - task.submitted < (task.deadline_s - 0.5) * NS:
        return f"expired after {seconds(task.ended - task.submitted)} s of {task.deadline_s:g} s"
    leases = stories.leases.get(stories.id_of(task), [])
    if any(one.word == "OK" and (one.ended or 0) < task.ended - NS for one in leases):
        return "it was done, and its caller was told that it expired"
    return ""


def check_books(stories: Stories, rules: Rules, report: Report) -> None:
    """C1, seen from the queue: it knows as many ends as it took in, and none was cancelled whose
    caller neither left nor gave up."""
    for event in stories.facts:
        if event["e"] != "books" or rules.lost_by:
            continue
        ends = sum(event[name] for name in COUNTED[1:])
        if ends != event["admitted"]:
            report.add("C1", f"the queue took {event['admitted']} tasks in and ended {ends}")
        gone = ("cancelled", "unavailable", "refused")
        left = sum(task.cancelled or task.word in gone for task in stories.tasks.values())
        if event["cancelled"] > left and "cancelled" not in rules.words:
            report.add("C1", f"{event['cancelled']} were cancelled, {left} callers had left")


def _excused_loss(stories: Stories, rules: Rules, task: Task) -> bool:
    if not rules.lost_by or task.ended is None:
        return False
    return stories.hit("*", task.submitted, task.ended, rules.lost_by) is not None


def _used_up(stories: Stories, rules: Rules, task: Task) -> bool:
    """Whether each attempt that was given went down with a fault. A worker that died before it
    had read of its lease wrote none down: then any such fault in the time of the task will do."""
    leases, end = stories.leases.get(stories.id_of(task), []), task.ended or NEVER
    if not leases:
        faults = (fault for fault in stories.faults if fault.what in rules.doubles_by)
        return any(fault.end >= task.submitted and fault.begin <= end for fault in faults)
    return all(stories.hit(lease.process, lease.asked, end, rules.doubles_by) for lease in leases)


def check_phantoms(stories: Stories, rules: Rules, report: Report) -> None:
    """C2: nothing runs that nobody asked for, nor what was refused for certain."""
    for stray in stories.strays:
        report.add("C2", f"{stray.n} ran and was never submitted")
    for task in stories.tasks.values():
        if task.effects and task.word == "refused":
            report.add("C2", f"{task.n} was refused, and ran")
        sure = task.word == "unavailable" and not task.unknown and task.admitted is None
        if task.effects and sure:
            report.add("C2", f"{task.n} was told that nothing was sent, and ran")


def check_doubles(stories: Stories, rules: Rules, report: Report) -> None:
    """C3: a task runs again only where a fault touched the run before."""
    for task in stories.tasks.values():
        runs = sorted(task.effects, key=lambda effect: (effect.fence, effect.at))
        for before, after in pairwise(runs):
            report.duplicates += 1
            fault = _why_again(stories, rules, before, after)
            if fault is None:
                text = f"{task.n} ran again on {after.process} after {before.process}, no fault"
                report.add("C3", f"{text} between {seconds(before.at)} and {seconds(after.at)} s")
    report.allowed = sum(1 for _ in held(stories, rules))


def _why_again(stories: Stories, rules: Rules, before: Effect, after: Effect) -> Fault | None:
    """The fault that touched the first run, as long as its worker held the lease; what a killed
    worker had sent can reach the backend after its end."""
    lease = stories.lease(before.id, before.fence)
    if lease is None:
        return stories.hit(before.process, before.at - NS, after.at, rules.doubles_by)
    until = min(lease.ended or after.at, after.at)
    return stories.hit(before.process, lease.asked, until, rules.doubles_by)


def held(stories: Stories, rules: Rules) -> Iterator[tuple[Lease, Fault]]:
    """Leases that a fault touched: those that may run again."""
    for fault in stories.faults:
        if fault.what not in rules.doubles_by:
            continue
        for lease in stories.leases_of(fault.target):
            if lease.asked <= fault.end and (lease.ended is None or lease.ended >= fault.begin):
                yield lease, fault


def check_fences(stories: Stories, rules: Rules, report: Report) -> None:
    """C4: one publish is taken, and under the highest fence that was given."""
    for task_id, leases in stories.leases.items():
        taken = [lease for lease in leases if lease.word == "OK"]
        report.saw("stale publish", sum(1 for lease in leases if lease.word == "STALE"))
        if len(leases) > 1:
            report.saw("leased again", len(leases) - 1)
        if len(taken) > 1 and not _lost_between(stories, rules, taken):
            report.add("C4", f"{task_id}: {len(taken)} publishes were taken")
        for lease in taken:
            higher = [one for one in leases if one.fence > lease.fence]
            if higher and not _lost_between(stories, rules, [lease, *higher]):
                text = f"{task_id}: fence {lease.fence} was taken, {higher[0].fence} was given"
                report.add("C4", text)


def _lost_between(stories: Stories, rules: Rules, leases: list[Lease]) -> bool:
    """Whether Redis lost data meanwhile, which takes back what it had said."""
    begin, end = min(one.asked for one in leases), max(one.ended or one.at for one in leases)
    return bool(rules.lost_by) and stories.hit("*", begin, end, rules.lost_by) is not None


def check_leases(stories: Stories, rules: Rules, report: Report) -> None:
    """C5: a lease that was not handed back lasts its time. A fence is the time of its lease, in
    µs of the server's clock, so the two are compared in Redis' own order; leases end at a whole
    millisecond."""
    shortest = rules.lease_s * 1_000_000 - 1000
    for task_id, leases in stories.leases.items():
        for before, after in pairwise(leases):
            if after.attempt > before.attempt:
                report.saw("attempt counted")
            if before.let_go or after.fence - before.fence >= shortest:
                continue
            if not _lost_between(stories, rules, [before, after]):
                took = (after.fence - before.fence) / 1_000_000
                text = f"{task_id}: leased again after {took:.3f} s of {rules.lease_s:g} s"
                report.add("C5", text)


def check_order(stories: Stories, rules: Rules, report: Report) -> None:
    """C6: no lease went to a task while a more urgent one, or an older one of its level, had
    been in line since before the claim was sent. Exact: no tolerance."""
    if not rules.order:
        return
    first: list[tuple[Lease, Task]] = []
    for task_id, leases in stories.leases.items():
        task = stories.tasks.get(stories.ids.get(task_id, ""))
        if task is not None and leases[0].attempt == 1:
            first.append((leases[0], task))
    first.sort(key=lambda pair: pair[0].fence, reverse=True)
    oldest: dict[int, tuple[int, str]] = {}  # by level, of those leased later: in line since
    for lease, task in first:
        own = lease.level if task.route == "http" else task.level  # which a gateway chooses
        for level, (since, n) in oldest.items():
            until = lease.asked if level < own else task.submitted
            if level <= own and since < min(until, lease.asked):
                report.add("C6", f"{task.n} (level {own}) overtook {n} (level {level})")
        if task.admitted is not None:
            oldest[own] = min(oldest.get(own, (NEVER, "")), (task.admitted, task.n))


def check_identity(stories: Stories, rules: Rules, report: Report) -> None:
    """C7: an answer bears the nonce of its question."""
    for task in stories.tasks.values():
        if task.word == "done" and task.got != task.n:
            report.add("C7", f"{task.n} was answered with the result of {task.got or 'nobody'}")
        elif task.word == "done":
            report.saw("delivered")
        if task.word == "done" and task.route == "work" and not task.effects:
            report.add("C4", f"{task.n} was answered and never ran")
