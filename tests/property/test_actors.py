"""The second form of the machine: real clients under a seeded scheduler, see simulation.py."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.servers import Server

from . import actors
from .caught import CAUGHT
from .driver import scripts_with_test_clock
from .mutant import Mutant, break_scripts
from .mutants import MUTANTS
from .simulation import Outcome, run
from .test_mutants import base, names

SEEDS = 200
# A third of what 200 seeds gave on 26 November 2026, where the seeds of that day gave 20 or more:
# each is a thing that has to happen, or the scheduler has lost its teeth. Gifts were counted a day
# later.
SOMETIMES = {
    "admit CONFLICT": 15,
    "admit NOINBOX": 20,
    "admit SAME": 20,
    "cancel TOLD": 70,
    "copy after the end": 45,
    "copy arrived": 180,
    "gift lost": 2,
    "given": 20,
    "granted": 170,
    "grace": 16,
    "heard TaskDead": 8,
    "heard TaskExpired": 200,
    "heard TaskFailed": 45,
    "heard Unavailable": 90,
    "heard answer": 400,
    "owner silent": 100,
    "lease ended": 35,
    "old admit": 25,
    "old claim": 20,
    "old publish": 10,
    "old retry": 4,
    "outage": 20,
    "outcome lost": 5,
    "partition": 40,
    "publish CANCELLED": 40,
    "publish STALE": 8,
    "ran again": 90,
    "renew LOST": 20,
    "replay admit": 30,
    "replay claim": 25,
    "replay publish": 12,
    "replay retry": 5,
    "replay without a lost lease": 2,
    "request late": 100,
    "request lost": 100,
    "request mute": 100,
    "request silent": 12,
    "script loaded again": 120,
    "state done": 25,
    "told": 60,
    "waiter ended cancelled": 4,
}
FIRST = ("every number is new", "one lease above the limit")
PATIENCE = 600


def fail(outcome: Outcome) -> None:
    """Print what led to it, and raise it."""
    if outcome.failure is not None:
        actors.tell(outcome)
        raise outcome.failure


@pytest.mark.timeout(600)
def test_no_seed_breaks_a_promise(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    scripts, seen, calls = scripts_with_test_clock(), Counter[str](), 0
    seeds = int(os.environ.get("PEAK_SEEDS", SEEDS))
    for seed in range(seeds):
        outcome = run(seed, server.client(), scripts, seen=seen)
        fail(outcome)
        calls += outcome.calls
    with capsys.disabled():
        line = ", ".join(f"{name} {count}" for name, count in sorted(seen.items()))
        print(f"\n[actors] {seeds} seeds, {calls} calls; sometimes: {line}")
    rare = {name: seen[name] for name, least in SOMETIMES.items() if seen[name] < least}
    assert seeds < SEEDS or not rare, f"seen too seldom: {rare}"


@pytest.mark.parametrize("mode", ["pull", "hold"])
def test_where_nothing_goes_wrong_nothing_is_noticed(server: Server, mode: str) -> None:
    """No error but those of full lines and of time, no owner that fell silent, no lease lost."""
    scripts = scripts_with_test_clock()
    for seed in range(8):
        fail(run(seed, server.client(), scripts, mode, fair=True))


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("begin", range(SEEDS, 1000, 100))
def test_no_further_seed_breaks_a_promise(server: Server, begin: int) -> None:
    scripts = scripts_with_test_clock()
    for seed in range(begin, begin + 100):
        fail(run(seed, server.client(), scripts))


@pytest.mark.parametrize("mode", ["pull", "hold"])
def test_the_same_seed_gives_the_same_history(server: Server, mode: str) -> None:
    scripts = scripts_with_test_clock()
    first, other, again = (run(seed, server.client(), scripts, mode) for seed in (5, 6, 5))
    assert first.history == again.history
    assert first.history != other.history
    assert first.calls > 20


def test_one_seed_can_be_run_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert actors.main(["--seeds", "1", "--from", "5"]) == 0
    assert "1 seeds from 5: 0 failed" in capsys.readouterr().out


def caught(mutant: Mutant, folder: Path, server: Server) -> Outcome | None:
    """The first seed that breaks a promise with these scripts."""
    scripts = scripts_with_test_clock(break_scripts(mutant, base(), folder / "lua"))
    mode = "hold" if mutant.mode == "hold" else ""
    for seed in range(PATIENCE):
        outcome = run(seed, server.client(), scripts, mode)
        if outcome.failure is not None:
            return outcome
    return None


def check(mutant: Mutant, folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Fail unless some seed notices."""
    outcome = caught(mutant, folder, server)
    assert outcome is not None, f"not caught by {PATIENCE} seeds: {mutant.name}: {mutant.why}"
    with capsys.disabled():
        said = str(outcome.failure).split("\n")[0]
        print(f"\n  {mutant.name}: seed {outcome.seed}: {said[:100]}", end="")


@pytest.mark.once
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in FIRST], ids=names)
def test_a_mutant_is_caught(
    mutant: Mutant, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    check(mutant, tmp_path, server, capsys)


@pytest.mark.full
@pytest.mark.once
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.name in CAUGHT and m.name not in FIRST], ids=names
)
def test_a_further_mutant_is_caught(
    mutant: Mutant, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    check(mutant, tmp_path, server, capsys)


def test_the_mutants_that_are_named_exist() -> None:
    assert {mutant.name for mutant in MUTANTS} >= CAUGHT
