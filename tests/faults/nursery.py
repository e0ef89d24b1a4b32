"""`python -m tests.faults.nursery`: starts workers by fork, in milliseconds.

A thousand killed workers are a thousand started ones, and most of a start is Python's imports.
This process has done them; each line on its stdin (JSON: words, environment, log file) forks a
child that runs `worker_app` as `python -m worker_app` would. It answers with the pid, and later
with `[pid, exit code]`. Rows about the supervisor start the real command.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
from typing import Any

from .processes import LIFELINE

_LOOK_S = 0.01


def main() -> None:
    """Serve until stdin closes; the children end by the same lifeline as everybody."""
    import redis.asyncio.connection  # noqa: F401 - what a worker imports on its way
    import uvloop  # noqa: F401

    import worker_app.__main__
    import worker_app.builtin  # noqa: F401

    gc.freeze()
    pending = b""
    while True:
        if select.select([0], [], [], _LOOK_S)[0]:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                _say([_fork(json.loads(line)), None])
        _reap()


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        with open(asked["log"], "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.environ.update(asked["env"])
        from worker_app.__main__ import main as run

        lifeline = os.environ[LIFELINE]
        code = run([word.format(lifeline=lifeline) for word in asked["words"]])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say([pid, os.waitstatus_to_exitcode(status)])


def _say(row: list[int | None]) -> None:
    os.write(1, json.dumps(row).encode() + b"\n")


if __name__ == "__main__":
    main()
