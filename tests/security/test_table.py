"""docs/reference/security.md names tests that exist, and has all checks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "security.md").read_text()
ROW = re.compile(r"(?m)^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_check_has_a_row_with_a_result() -> None:
    rows = ROW.findall(PAGE)
    assert [int(number) for number, *_ in rows] == list(range(1, 33))
    for number, _, tests, result in rows:
        word = re.match(r"holds|left out:|open:", result)
        assert word, f"check {number}: expected holds, left out or open, came {result[:20]!r}"
        assert bool(NAMED.search(tests)) or word[0] == "left out:", f"check {number} names no test"


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 30
    for file, name in named:
        path = ROOT / file
        assert path.is_file(), f"{file} is named in docs/reference/security.md"
        tree = ast.parse(path.read_text())
        found = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in found, f"{file} has no {name}: docs/reference/security.md"
