"""Writes docs/explanation/benchmarks.md from the results that lie beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"
RESULTS = PAGE.with_suffix("")


def write() -> None:
    """The page."""
