"""Runs seeds of the simulation, as many as are asked for, and tells how to repeat one that fails.

python -m tests.property.actors --seeds 10000 [--from N] [--mode pull|hold] [--show]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.servers import valkey

from .driver import scripts_with_test_clock
from .simulation import Outcome, run

EVERY_S = 10.0


def main(arguments: list[str]) -> int:
    """Run the seeds one after the other; 1 where one of them broke a rule."""
    parser = argparse.ArgumentParser(prog="python -m tests.property.actors", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first of them")
    parser.add_argument("--mode", choices=["pull", "hold"], default="", help="default: both")
    parser.add_argument("--show", action="store_true", help="print each history")
    options = parser.parse_args(arguments)
    began = told = time.monotonic()
    seen, calls, failed = Counter[str](), 0, 0
    scripts = scripts_with_test_clock()
    with valkey() as server:
        client = server.client()
        for seed in range(options.first, options.first + options.seeds):
            outcome = run(seed, client, scripts, options.mode, seen)
            calls += outcome.calls
            if options.show:
                print(outcome.history.decode("latin-1"))
            if outcome.failure is not None:
                failed += 1
                tell(outcome, options.mode)
            if time.monotonic() - told > EVERY_S:
                told = time.monotonic()
                print(f"seed {seed}: {calls} calls, {failed} failed", flush=True)
    took = time.monotonic() - began
    print("sometimes: " + ", ".join(f"{name} {count}" for name, count in sorted(seen.items())))
    print(
        f"{options.seeds} seeds from {options.first}: {failed} failed, {calls} calls explained, "
        f"{took:.0f} s, {options.seeds / took:.1f} seeds/s, {calls / took:.0f} calls/s"
    )
    return 1 if failed else 0


def tell(outcome: Outcome, mode: str = "") -> None:
    """What went wrong, what led to it, and how to see it again."""
    error = outcome.failure
    print(f"\nseed {outcome.seed} failed: {type(error).__name__}: {error}")
    last = outcome.history.decode("latin-1").splitlines()[-40:]
    print("\n".join(line[:300] for line in ["the last calls:", *last]))
    how = f"--seeds 1 --from {outcome.seed}" + (f" --mode {mode}" if mode else "")
    print(f"again: python -m tests.property.actors {how} --show\n", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
