"""The figures that the harness makes of many."""

from __future__ import annotations

import pytest

from bench.harness.options import Check, Options, interleaved
from bench.harness.stats import median, medians, quantile, ratio, spread
from bench.harness.tables import checks, millis, number, table


def test_a_quantile_is_a_value_of_the_list() -> None:
    ordered = [float(value) for value in range(100)]
    assert quantile(ordered, 0.5) == 50
    assert quantile(ordered, 0.99) == 99
    assert quantile(ordered, 1.0) == 99
    assert quantile([], 0.5) is None


def test_a_median_leaves_out_what_is_not_there() -> None:
    assert median([3.0, None, 1.0, 2.0]) == 2.0
    assert median([None]) is None


def test_medians_are_taken_of_nested_numbers_and_words_are_kept() -> None:
    rows = [{"1": {"rate": rate, "first_error": word}} for rate, word in ((1.0, "a"), (9.0, "b"))]
    rows.append({"1": {"rate": 5.0, "first_error": "c"}})
    assert medians(rows) == {"1": {"rate": 5.0, "first_error": "c"}}


def test_medians_of_repeats_that_measured_different_things() -> None:
    assert medians([{"a": 1.0, "idle": 4.0}, {"a": 3.0}]) == {"a": 2.0, "idle": 4.0}


@pytest.mark.parametrize(
    ("part", "whole", "expected"), [(3.0, 2.0, 1.5), (None, 2.0, None), (3.0, None, None)]
)
def test_a_ratio_needs_both(part: float | None, whole: float | None, expected: object) -> None:
    assert ratio(part, whole) == expected
    assert ratio(part, 0) is None


def test_spread_is_from_the_least_to_the_most() -> None:
    assert spread([2.0, None, 1.0, 3.0]) == (1.0, 3.0)
    assert spread([]) is None


def test_a_check_says_met_short_or_not_measured() -> None:
    assert Check("a", 2.0, 2.0).met is True
    assert Check("a", 2.0, 1.9).met is False
    assert Check("a", 2.0, 1.9, at_most=True).met is True
    assert Check("a", 2.0, None).met is None
    assert Check("a", 2.0, 2.5, at_most=True).as_json()["bound"] == "<= 2"


def test_repeats_are_interleaved_and_each_begins_with_another() -> None:
    order: list[str] = []

    def one(name: str, repeat: int) -> dict[str, int]:
        order.append(name)
        return {"repeat": repeat}

    runs = interleaved(("a", "b", "c"), 3, one)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert [run["repeat"] for run in runs["b"]] == [0, 1, 2]
    runs = interleaved(("a", "b"), 2, one, once=("b",))
    assert {name: len(some) for name, some in runs.items()} == {"a": 2, "b": 1}


def test_quick_takes_the_smaller_amount() -> None:
    assert Options(quick=True).amount(10, 2) == 2
    assert Options().amount(10, 2) == 10


def test_numbers_are_read_by_people() -> None:
    assert number(12345.6) == "12,346"
    assert number(None) == "-"
    assert [millis(value) for value in (0.001234, 0.0123, 0.123, None)] == [
        "1.23",
        "12.3",
        "123",
        "-",
    ]


def test_a_table_has_a_head_a_rule_and_a_line_each() -> None:
    assert table(("system", "rate"), [("ours", 2)]) == (
        "| system | rate |\n|---|---:|\n| ours | 2 |\n"
    )


def test_checks_are_shown_with_their_words() -> None:
    shown = checks([Check("quick", 2.0, 3.0).as_json(), Check("small", 1.0, None).as_json()])
    assert "| quick | >= 2 | 3.00 | met |" in shown
    assert "| small | >= 1 | - | not measured |" in shown
    assert checks([]) == ""
