"""Medians, percentiles and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which `share` of a sorted list lies (nearest rank); None of nothing."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Iterable[float | None]) -> float | None:
    """The median of those that are there."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of each number over repeats, nested mappings included; other values as the last
    row has them."""
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row[name] for row in rows if name in row]
        if all(isinstance(value, Mapping) for value in values):
            merged[name] = medians(values)
        elif all(_is_number(value) for value in values):
            merged[name] = median(values)
        else:
            merged[name] = values[-1]
    return merged


def ratio(part: float | None, whole: float | None) -> float | None:
    """`part / whole`, to three digits; None where there is nothing to divide."""
    if part is None or not whole:
        return None
    return float(f"{part / whole:.3g}")


def spread(values: Iterable[float | None]) -> tuple[float, float] | None:
    """The smallest and the largest."""
    there = [value for value in values if value is not None]
    return (min(there), max(there)) if there else None


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
