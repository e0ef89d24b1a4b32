"""Turns this process into another one: signals, exit code and process id are then its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence


def module_command(module: str, words: Sequence[str] = ()) -> list[str]:
    """The command line of `python -m MODULE`, by this very interpreter."""
    return [sys.executable, "-m", module, *words]


def become(module: str, words: Sequence[str]) -> int:
    """Run a module in place of this process."""
    command = module_command(module, words)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    # Windows has no exec that a caller could wait for.
    return subprocess.call(command)
