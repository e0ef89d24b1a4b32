"""The headline rows of the fault matrix with small counts; `./peak faults` runs them all.

The seed is printed by a row that fails: `./peak faults --row N --repeat K --seed S` repeats it.
"""

from __future__ import annotations

import random

import pytest

from . import table
from .__main__ import ROWS
from .rows import PROFILES, Row, Trial, run_row

HEADLINE = {1: 6, 14: 2, 21: 1, 53: 1}
_BY_NUMBER = {row.number: row for row in ROWS}


@pytest.mark.faults
@pytest.mark.parametrize("number", HEADLINE)
def test_the_row_is_as_promised(number: int) -> None:
    outcome = run_row(_BY_NUMBER[number], HEADLINE[number], random.randrange(1 << 30))
    assert outcome.state == "ok", "\n".join(
        [f"seed {outcome.seed}", table.line(outcome), *table.details(outcome)]
    )


def test_rows_are_numbered_once_and_counted() -> None:
    assert len(_BY_NUMBER) == len(ROWS)
    for row in ROWS:
        counts = [row.count(profile) for profile in PROFILES]
        assert counts == sorted(counts), row.fault
        assert counts[1] >= 5, f"standard is five repeats or more: {row.fault}"


def _nothing(_: Trial) -> None:
    """A row that judges nothing."""


def _raises(_: Trial) -> None:
    raise OSError("no such thing")


@pytest.mark.parametrize("wrong", [_nothing, _raises])
def test_a_row_that_shows_nothing_fails(wrong: object) -> None:
    assert callable(wrong)
    outcome = run_row(Row(999, "nothing", "S", (0, 5, 5), wrong), 1, 1)
    assert outcome.state == "failed"
    assert outcome.findings[0].check == "harness"
    assert "failed" in table.line(outcome)
