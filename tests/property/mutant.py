"""Scripts broken on purpose: each is one substitution in a file of `lua/`, and has to be caught."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` (exactly once in `file`) becomes `new`; `why` says what would go wrong."""

    name: str
    file: str
    old: str
    new: str
    why: str
    mode: str = "pull"
    first: bool = False


class StaleMutantError(LookupError):
    """A substitution does not match its file any more: the mutant has to be written anew."""


def break_scripts(mutant: Mutant, base: Path, target: Path) -> Path:
    """A copy of the scripts with the substitution made."""
    shutil.copytree(base, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
    file = target / mutant.file
    text = file.read_text(encoding="utf-8")
    found = text.count(mutant.old)
    if found != 1:
        raise StaleMutantError(f"{mutant.name}: {mutant.file} has {found} times {mutant.old!r}")
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return target


CONTROL = Mutant("control", "cmd/claim.lua", "local again, _, ", "local again, __, ", "nothing")
