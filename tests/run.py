"""Runs the tests: the first tier, or everything with `--full`. Other arguments go to pytest.

The first tier is meant to take ten minutes on two idle cores and is ended after 25, the full one
after 60, because a suite that hangs says nothing. What failed runs a second time, alone: on a busy
machine a test of processes can meet its deadline by no fault of its own. It is named either way,
and one that fails twice fails the run. The full one runs those of
the first tier that use the fixture `server` a second time, on the machine's redis-server and in
RESP2, and those among them that go the ways of the apps a third time, as users of the roles.
What another server can't change, as that a mutant is caught, is marked `once`; what measures
time is marked `alone` and comes last, with nothing beside it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = {"first": 1500, "full": 3600}
ROLES = ["--role", "gateway", "--role", "worker", "--role", "operator"]
NOTHING_RAN = 5  # pytest: the user's selection leaves this call nothing
# With one of these pytest has to run in a single process.
ALONE = ("--pdb", "--trace", "-s", "--capture=no", "-n", "--numprocesses", "--collect-only", "--co")


def commands(arguments: Sequence[str]) -> tuple[list[list[str]], int]:
    """The pytest calls for these arguments, and how many seconds they may take together."""
    rest = [word for word in arguments if word != "--full"]
    tier = "full" if len(rest) < len(arguments) else "first"
    call = [sys.executable, "-m", "pytest"]
    if not any(word == alone or word.startswith(f"{alone}=") for word in rest for alone in ALONE):
        processes = max(2, min(4, os.cpu_count() or 2))
        call += ["-n", str(processes), "--dist", "worksteal"]
    if tier == "first":
        return [[*call, *_only("not full", rest)]], LIMIT_S[tier]
    last = [sys.executable, "-m", "pytest", *_only("alone", rest)]
    calls = [[*call, *_only("not alone", rest)], last]
    if shutil.which("redis-server"):
        redis = ["--server", "redis", "--protocol", "2", "--served"]
        calls = [[*call, *redis, *more, *_only("not full", rest)] for more in ([], ROLES)] + calls
    else:
        print("tests/run.py: no redis-server here, so everything runs on Valkey only")
    return calls, LIMIT_S[tier]


def _only(marks: str, rest: list[str]) -> list[str]:
    """Join a marker expression of the user's with ours: of two `-m` pytest takes the last."""
    if "-m" in rest[:-1]:
        at = rest.index("-m") + 1
        return [*rest[:at], f"({rest[at]}) and {marks}", *rest[at + 1 :]]
    return ["-m", marks, *rest]


def main(arguments: Sequence[str]) -> int:
    """Run the calls one after the other; the first exit code that is none of success."""
    calls, limit_s = commands(arguments)
    until = time.monotonic() + limit_s
    codes = []
    for call in calls:
        codes.append(_run(call, until))
        if codes[-1] == 1 and arguments in ([], ["--full"]):
            print("tests/run.py: the tests that failed above run once more, alone", flush=True)
            again = ["--last-failed", "--last-failed-no-failures", "none", "-rA", "-n", "0"]
            codes[-1] = _run([*call, *again], until)
        if codes[-1] in (124, 130):
            break
    if set(codes) != {NOTHING_RAN}:  # a selection may leave some of the calls nothing
        codes = [code for code in codes if code != NOTHING_RAN]
    return next((code for code in codes if code), 0)


def _run(call: list[str], until: float) -> int:
    """One run, off a terminal in a session of its own, so that its end ends its workers too."""
    process = subprocess.Popen(call, cwd=ROOT, start_new_session=not sys.stdin.isatty())
    try:
        return process.wait(timeout=max(1.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        print("tests/run.py: not done within the limit, ended", file=sys.stderr)
        _end(process, signal.SIGKILL)
        return 124
    except (KeyboardInterrupt, SystemExit):
        _end(process, signal.SIGINT)
        return 130


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the whole session where there is one, and wait for pytest's last words."""
    if os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, number)
    elif number is not signal.SIGINT:  # on a terminal Ctrl-C has reached it already
        process.send_signal(number)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
