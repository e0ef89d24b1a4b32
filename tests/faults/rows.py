"""What a row of the fault matrix is, and how one is run.

A row's function is given a `Trial`, builds stands from it, injects its fault `trial.repeat`
times, and hands each stand in for judgement.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests import servers

from .checks import Finding, Report, Rules
from .stand import Stand

PROFILES = ("short", "standard", "full")


class CannotRunHere(Exception):
    """This machine lacks what the row needs; the text says what was found."""


@dataclass
class Trial:
    """One run of a row: how often, with which seed, and what came of it."""

    repeat: int
    seed: int
    reports: list[Report] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def stand(self, server: servers.Server, **options: Any) -> Stand:
        """A system under test on one server."""
        return self.stand_at(server.url, server.client, **options)

    def stand_at(self, url: str, look: Callable[[], Any], **options: Any) -> Stand:
        """The same on several that act as one."""
        self.seed += 1
        return Stand(url, look, seed=self.seed, **options)

    def judge(self, stand: Stand, *, gap_since: int = 0, **rules: Any) -> Report:
        """Come to rest, check, keep the report."""
        report = stand.verdict(Rules(lease_s=stand.lease_s, **rules))
        if gap_since:
            self.notes.append(f"longest gap {stand.gap(gap_since):.1f} s")
        if report.findings:
            stand.keep()
        self.reports.append(report)
        return report

    def expect(self, *, that: bool, what: str) -> None:
        """A claim of the row's own, beyond the checks."""
        if not that:
            report = Report()
            report.add("row", what)
            self.reports.append(report)

    def note(self, text: str) -> None:
        """A measured figure for the table."""
        self.notes.append(text)


@dataclass(frozen=True)
class Row:
    """One line of the matrix; `counts` are the repeats of short (0: not in it), standard, full."""

    number: int
    fault: str
    mode: str
    counts: tuple[int, int, int]
    run: Callable[[Trial], None]

    def count(self, profile: str) -> int:
        """How often in this profile."""
        return self.counts[PROFILES.index(profile)]


@dataclass
class Outcome:
    """What a row came to. `state`: ok, failed, or not here."""

    row: Row
    repeat: int
    seed: int
    state: str
    seconds: float
    findings: list[Finding] = field(default_factory=list)
    lost: int = 0
    tasks: int = 0
    duplicates: int = 0
    allowed: int = 0
    said: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    recovery: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_row(row: Row, repeat: int, seed: int) -> Outcome:
    """Run it, whatever happens; an error of the harness is a failed row."""
    trial = Trial(repeat, seed)
    began = time.monotonic()
    state, findings = "ok", []
    try:
        row.run(trial)
    except CannotRunHere as error:
        state, trial.notes = "not here", [*trial.notes, str(error)]
    except Exception as error:
        state = "failed"
        findings.append(Finding("harness", f"{type(error).__name__}: {error}"))
        trial.notes.append(traceback.format_exc(limit=-3).strip())
    if state == "ok" and not trial.reports:
        state, findings = "failed", [Finding("harness", "nothing was judged")]
    outcome = Outcome(row, repeat, seed, state, time.monotonic() - began, findings)
    for report in trial.reports:
        _merge(outcome, report)
    if outcome.findings and outcome.state == "ok":
        outcome.state = "failed"
    outcome.notes = list(trial.notes)
    outcome.recovery.sort()
    return outcome


def _merge(outcome: Outcome, report: Report) -> None:
    outcome.findings += report.findings
    outcome.lost += report.lost
    outcome.tasks += report.tasks
    outcome.duplicates += report.duplicates
    outcome.allowed += report.allowed
    outcome.recovery += report.recovery
    for ours, theirs in ((outcome.said, report.said), (outcome.seen, report.seen)):
        for name, count in theirs.items():
            ours[name] = ours.get(name, 0) + count
