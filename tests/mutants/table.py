"""The page of all mutants, docs/reference/mutants.md: `python -m tests.mutants.table` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.property.caught import CAUGHT
from tests.property.mutants import MUTANTS

from .apps import APPS
from .client import CLIENT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "mutants.md"
MACHINE, ACTORS = "tests/property/test_machine.py", "tests/property/test_actors.py"
HEAD = f"""# Mutants

A test that can't fail says nothing. So the scripts and the Python are broken on purpose, one rule
at a time, and the suite has to go red; a change of no meaning has to stay green. This page is made
from the lists themselves (`python -m tests.mutants.table`). A mutant that no longer fits its file
fails the suite.

{len(MUTANTS)} mutants of the scripts, {len(CLIENT) + len(APPS)} of the Python. Those marked ● run
in `./peak test`, all of them in `./peak test --full`.
"""


def page() -> str:
    """The page as it has to be."""
    scripts = [(m.first, m.name, f"lua/{m.file}", m.why, _machine(m.name, m.mode)) for m in MUTANTS]
    python = [(m.first, m.name, m.file, m.why, f"`{m.test}`") for m in (*CLIENT, *APPS)]
    return "\n".join(
        [
            HEAD,
            "## Scripts",
            "",
            f"The *machine* is `{MACHINE}`; the *actors* are `{ACTORS}`, real clients under a",
            "seeded scheduler.",
            "",
            *_table(scripts),
            "",
            "## Python",
            "",
            *_table(python),
            "",
        ]
    )


def _machine(name: str, mode: str) -> str:
    return f"machine ({mode})" + (", actors" if name in CAUGHT else "")


def _table(rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| | mutant | in | what would go wrong | caught by |", "|---|---|---|---|---|"]
    for first, name, file, why, test in rows:
        lines.append(f"| {'●' if first else ''} | {name} | `{file}` | {why} | {test} |")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
