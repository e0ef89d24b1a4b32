"""Tables in Markdown, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def number(value: float | None, digits: int = 0) -> str:
    """With separators of thousands; `-` for what is not there."""
    return "-" if value is None else f"{value:,.{digits}f}"


def millis(seconds: float | None) -> str:
    """Seconds as milliseconds, three digits that count."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; the first column is text, the others stand to the right."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|---|" + "---:|" * (len(head) - 1))
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def checks(found: Sequence[dict[str, Any]]) -> str:
    """What was promised, and what came of it."""
    words = {True: "met", False: "short", None: "not measured"}
    rows = [
        (one["claim"], one["bound"], number(one["value"], 2), words[one["met"]]) for one in found
    ]
    return table(("promised", "bound", "measured", ""), rows) if rows else ""
