"""What doctor tells: one line each."""

from __future__ import annotations

from typing import NamedTuple

MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}


class Finding(NamedTuple):
    """One line of the report."""

    state: str
    name: str
    text: str
    fix: str = ""
