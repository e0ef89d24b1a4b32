"""The branch coverage of pyclient as one figure: every suite that drives it, subprocesses too.

    python -m tests.coverage_client [--under 95] [arguments of pytest]

Suites run in two processes. What a killed process had covered is not counted, nor what runs
isolated from the environment (see `omit` in pyproject.toml). Measured code is slow: a test that
fails for its time here is named, but only the figure decides; `./peak test` judges tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITES = "pyclient contract http asgi cli compat demo examples property gateway worker".split()


def main(arguments: list[str]) -> int:
    """Run the suites and print the table; 2 where too little is covered."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage_client", description=__doc__)
    parser.add_argument("--under", type=float, default=95.0, help="least per cent (default: 95)")
    options, rest = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "COVERAGE_FILE": f"{folder}/data", "COVERAGE_CORE": "ctrace"}

        def coverage(*words: str) -> int:
            call = [sys.executable, "-m", "coverage", *words]
            return subprocess.run(call, cwd=ROOT, env=environ, check=False).returncode

        tests = [f"tests/{suite}" for suite in SUITES]
        ignored = ["--ignore=tests/property/test_mutants.py", "--ignore=tests/mutants"]
        pytest = ["pytest", "-q", "-n", "2", "--dist", "worksteal", "-m", "not full"]
        coverage("run", "-m", *pytest, "--timeout=600", *ignored, *tests, *rest)
        coverage("combine", "-q", folder)
        under = f"--fail-under={options.under:g}"
        return coverage("report", "--include=pyclient/*", "--precision=1", under)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
