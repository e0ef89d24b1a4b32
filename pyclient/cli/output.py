"""How commands speak: a table for people, or one JSON value for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

OK, PROBLEM, USAGE, UNREACHABLE = 0, 1, 2, 3


def print_json(value: object) -> None:
    """One JSON value on stdout, indented: it is read by people too."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as needed; numbers to the right, the last column unpadded."""
    kept = [list(row) for row in rows]
    cells = [[_text(value) for value in row] for row in kept]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    right = [
        bool(kept) and all(isinstance(row[i], int | float) for row in kept)
        for i in range(len(head))
    ]
    for row in [list(head), *cells]:
        padded = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        print("  ".join(padded).rstrip())


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(ms: int) -> str:
    """Milliseconds as a reader wants them; negative means never."""
    if ms < 0:
        return "never"
    seconds = ms / 1000
    if seconds < 100:
        return f"{seconds:.1f}s"
    return f"{seconds // 60:.0f}m{seconds % 60:02.0f}s"
