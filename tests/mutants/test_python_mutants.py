"""Every mutant of the Python is caught by the test that is named for it; the page says which."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from .apps import APPS
from .client import CLIENT
from .mutant import ROOT, Mutant, StaleMutantError, caught, copy_tree, mutated, run_tests
from .table import PAGE, page

MUTANTS = (*CLIENT, *APPS)


def names(mutant: Mutant) -> str:
    """The id of a test."""
    return mutant.name.replace(" ", "-")


def check(mutant: Mutant, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fail unless the test of the mutant goes red, and for no other reason."""
    began = time.monotonic()
    verdict = caught(mutant, folder)
    assert verdict.code == 1, f"not caught: {mutant.name} ({verdict.code}): {verdict.said[-2000:]}"
    assert verdict.failed.startswith(mutant.test)
    with capsys.disabled():
        took = time.monotonic() - began
        print(f"\n  {mutant.name}: {took:.1f} s: {verdict.failed}", end="")


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.first], ids=names)
def test_a_mutant_is_caught(
    mutant: Mutant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(mutant, tmp_path, capsys)


@pytest.mark.full
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if not m.first], ids=names)
def test_a_further_mutant_is_caught(
    mutant: Mutant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(mutant, tmp_path, capsys)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_all_tests_that_are_named_are_green_on_a_tree_that_is_not_broken(tmp_path: Path) -> None:
    """Else a red one would prove nothing."""
    tests = dict.fromkeys(m.test for m in MUTANTS)
    verdict = run_tests(copy_tree(tmp_path / "tree"), tests, limit_s=500)
    assert verdict.code == 0, verdict.said[-2000:]


def test_every_mutant_still_fits_its_file() -> None:
    for mutant in MUTANTS:
        changed = mutated(mutant, (ROOT / mutant.file).read_text(encoding="utf-8"))
        ast.parse(changed, mutant.file)
        assert (ROOT / mutant.test.partition("::")[0]).is_file(), mutant.test
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)


def test_a_mutant_that_fits_no_more_is_an_error() -> None:
    with pytest.raises(StaleMutantError, match="has 0 times"):
        mutated(Mutant("x", "pyclient/line.py", "no such text", "", "", ""), "text")


def test_the_page_of_mutants_is_up_to_date() -> None:
    said = "python -m tests.mutants.table writes it anew"
    assert PAGE.read_text(encoding="utf-8") == page(), said
