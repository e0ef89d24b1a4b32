"""Commands as users run them; in this process where nothing is lost by that (half a second each).

`run` calls the entry point with an environment of its own, `run_process` starts
`python -m pyclient.cli`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from pyclient.cli import main
from tests.servers import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


class Done(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


def environment(**more: str) -> dict[str, str]:
    """Ours without any setting, so that a developer's variables change nothing."""
    ours = ("PEAK_", "FAST_PRIORITY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **more}


def run(*words: str, env: Mapping[str, str] | None = None) -> Done:
    """Run `peakshaver WORDS` here."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(**(env or {})), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(words)
    return Done(code, out.getvalue(), err.getvalue())


def run_process(
    *words: str, env: Mapping[str, str] | None = None, timeout: float = PATIENCE_S
) -> Done:
    """Run `peakshaver WORDS` in a process of its own, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "pyclient.cli", *words],
        capture_output=True,
        cwd="/",
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE_S,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def run_json(*words: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
    """The JSON value that `peakshaver WORDS` prints."""
    done = run(*words, env=env)
    assert done.returncode == code, done
    return json.loads(done.stdout)
