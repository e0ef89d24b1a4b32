"""Python broken on purpose: each mutant is one substitution in a copy of the tree, and the tests
that are named for it have to go red there, while they are green on the tree as it is."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyclient", "gateway_app", "worker_app", "lua", "tests", "pyproject.toml")
LIMIT_S = 120.0
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` (exactly once in `file`) becomes `new`; `why` says what would go wrong, `test` is
    what notices."""

    name: str
    file: str
    old: str
    new: str
    why: str
    test: str
    first: bool = False


class StaleMutantError(LookupError):
    """A substitution does not match its file any more: the mutant has to be written anew."""


def mutated(mutant: Mutant, text: str) -> str:
    """The text of the mutant's file with the substitution made."""
    found = text.count(mutant.old)
    if found != 1:
        raise StaleMutantError(f"{mutant.name}: {mutant.file} has {found} times {mutant.old!r}")
    return text.replace(mutant.old, mutant.new)


def copy_tree(target: Path) -> Path:
    """A tree that can be broken; what is compiled comes along, which saves a second a run."""
    ignore = shutil.ignore_patterns(".*")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part, ignore=ignore)
        else:
            shutil.copy(ROOT / part, target / part)
    return target


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the tests ended: pytest's exit code, the first test that failed, all that was said."""

    code: int
    failed: str
    said: str


def run_tests(tree: Path, tests: Iterable[str], *, limit_s: float = LIMIT_S) -> Verdict:
    """Run tests in a tree until the first one fails; servers and helpers end with them."""
    call = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    call += ["-p", "no:randomly", *tests]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    environ = {**kept, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            call, cwd=tree, env=environ, stdout=out, stderr=out, start_new_session=True
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = -1
        out.seek(0)
        said = out.read()
    found = FAILED.search(said)
    return Verdict(code, found.group(1) if found else "", said)


def caught(mutant: Mutant, folder: Path) -> Verdict:
    """Run the test of a mutant in a broken copy of the tree."""
    tree = copy_tree(folder / "tree")
    file = tree / mutant.file
    file.write_text(mutated(mutant, file.read_text(encoding="utf-8")), encoding="utf-8")
    return run_tests(tree, [mutant.test])
