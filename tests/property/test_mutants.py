"""The machine proves itself: every mutant is caught, and a change of no meaning is not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import redis

from pyclient.scripts import lua_root
from tests.servers import Server

from .driver import scripts_with_test_clock
from .model import MismatchError
from .mutant import CONTROL, Mutant, StaleMutantError, break_scripts
from .mutants import MUTANTS
from .test_machine import run_machine

pytestmark = pytest.mark.once
# Few examples of each of several seeds find more in less time than many of one.
SEEDS, EXAMPLES = (5, 3, 2, 4, 1, 6, 7, 8), 40


def base() -> Path:
    """The scripts that are broken."""
    given = os.environ.get("PEAK_TEST_LUA")
    return Path(given) if given else lua_root()


def caught(mutant: Mutant, folder: Path, server: Server) -> str:
    """What the machine said of a mutant; empty where it saw nothing."""
    scripts = scripts_with_test_clock(break_scripts(mutant, base(), folder / "lua"))
    try:
        for seed in SEEDS:
            run_machine(server.client(), scripts, mutant.mode, examples=EXAMPLES, seed=seed)
    except (MismatchError, redis.RedisError) as error:
        _free(server)
        return str(error).split("\n")[0] or type(error).__name__
    return ""


def _free(server: Server) -> None:
    """A broken script may run for ever: end it, so that the server serves the next test."""
    try:
        server.client().script_kill()
    except redis.ResponseError:
        pass  # nothing runs


def names(mutant: Mutant) -> str:
    """The id of a test."""
    return mutant.name.replace(" ", "-")


def check(mutant: Mutant, folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Fail unless the mutant is caught; tell how long it took."""
    began = time.monotonic()
    said = caught(mutant, folder, server)
    assert said, f"not caught: {mutant.name} ({mutant.file}): {mutant.why}"
    with capsys.disabled():
        print(f"\n  {mutant.name}: {time.monotonic() - began:.1f} s: {said[:100]}", end="")


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.first], ids=names)
def test_a_mutant_is_caught(
    mutant: Mutant, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    check(mutant, tmp_path, server, capsys)


@pytest.mark.full
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if not m.first], ids=names)
def test_a_further_mutant_is_caught(
    mutant: Mutant, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    check(mutant, tmp_path, server, capsys)


def test_a_change_of_no_meaning_stays_green(tmp_path: Path, server: Server) -> None:
    scripts = scripts_with_test_clock(break_scripts(CONTROL, base(), tmp_path / "lua"))
    run_machine(server.client(), scripts, "pull", examples=30, seed=1)


def test_every_mutant_still_fits_its_file(tmp_path: Path) -> None:
    """Also those that the first tier does not run."""
    for at, mutant in enumerate((*MUTANTS, CONTROL)):
        break_scripts(mutant, base(), tmp_path / str(at))
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)


def test_a_mutant_that_fits_no_more_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StaleMutantError, match="has 0 times"):
        break_scripts(Mutant("x", "cmd/claim.lua", "no such text", "", ""), base(), tmp_path)
