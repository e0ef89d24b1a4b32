"""What is printed of a run: one line a row, what was found below, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .rows import Outcome

_HEAD = (
    "row",
    "fault",
    "repeats",
    "lost",
    "duplicates",
    "checks",
    "recovery s",
    "time s",
    "result",
)
_SHOWN = 5


def head() -> str:
    """The first line."""
    return _line(_HEAD)


def line(outcome: Outcome) -> str:
    """One row: duplicates are allowed/seen, recovery is median/most."""
    if outcome.state == "not here":
        cells = [
            str(outcome.row.number),
            outcome.row.fault,
            "-",
            "-",
            "-",
            "-",
            "-",
            "-",
            "not here",
        ]
        return _line(cells)
    return _line(
        [
            f"{outcome.row.number} {outcome.row.mode}",
            outcome.row.fault,
            str(outcome.repeat),
            f"{outcome.lost}/{outcome.tasks}",
            f"{outcome.allowed}/{outcome.duplicates}",
            _checks(outcome),
            _recovery(outcome.recovery),
            f"{outcome.seconds:.0f}",
            outcome.state,
        ]
    )


def details(outcome: Outcome) -> list[str]:
    """What was found and measured, indented."""
    texts = [f"{one.check}: {one.text}" for one in outcome.findings[:_SHOWN]]
    if len(outcome.findings) > _SHOWN:
        texts.append(f"… and {len(outcome.findings) - _SHOWN} more")
    notes = [text for note in outcome.notes for text in note.splitlines()]
    return [f"      {text}" for text in (*texts, *notes)]


def as_json(outcomes: Sequence[Outcome], *, profile: str, seed: int) -> str:
    """Everything, for machines."""
    rows: list[dict[str, Any]] = [
        {
            "row": one.row.number,
            "fault": one.row.fault,
            "mode": one.row.mode,
            "repeats": one.repeat,
            "seed": one.seed,
            "result": one.state,
            "tasks": one.tasks,
            "lost": one.lost,
            "duplicates": {"allowed": one.allowed, "seen": one.duplicates},
            "ends": one.said,
            "sometimes": one.seen,
            "recovery_s": one.recovery,
            "seconds": round(one.seconds, 1),
            "findings": [finding._asdict() for finding in one.findings],
            "notes": one.notes,
        }
        for one in outcomes
    ]
    return json.dumps({"profile": profile, "seed": seed, "rows": rows}, indent=1)


def _checks(outcome: Outcome) -> str:
    bad = sorted({finding.check for finding in outcome.findings})
    return ",".join(bad) if bad else "C1–C13"


def _recovery(values: Sequence[float]) -> str:
    return f"{values[len(values) // 2]:.1f}/{values[-1]:.1f}" if values else "-"


def _line(cells: Sequence[str]) -> str:
    widths = (5, 38, 8, 9, 11, 10, 11, 7, 0)
    parts = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
    return " ".join(parts).rstrip()
