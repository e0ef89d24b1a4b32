"""`run-fast-priority`, the command of fast-priority: a worker where FAST_PRIORITY_WORKERS (or
FAST_PRIORITY_WORKER) is set, else the gateway."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyclient.errors import ConfigError
from pyclient.settings import load

from .become import become
from .output import PROBLEM


def role(words: Sequence[str]) -> tuple[str, list[str]]:
    """Module and arguments for these settings. Raises ConfigError."""
    settings = load()
    if settings.workers is None:
        return "gateway_app", list(words)
    return "worker_app", ["-p", str(settings.workers), *words]


def main(argv: Sequence[str] | None = None) -> int:
    """Become one of the two."""
    words = sys.argv[1:] if argv is None else argv
    try:
        module, rest = role(words)
    except ConfigError as error:
        print(f"run-fast-priority: {error}", file=sys.stderr)
        return PROBLEM
    return become(module, rest)


if __name__ == "__main__":
    sys.exit(main())
