"""`./peak faults`: breaks things on purpose and counts what was lost.

    ./peak faults [--profile short|standard|full] [--row N]… [--repeat K] [--seed S] [--json FILE]
    ./peak faults --soak MINUTES [--seed S]
    ./peak faults --list

Exit: 0 every row is as promised (or can't run here, and says why), 1 one is not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import (
    rows_http,
    rows_limits,
    rows_machine,
    rows_network,
    rows_redis,
    rows_topology,
    rows_workers,
    table,
)
from .rows import PROFILES, Outcome, Row, run_row
from .soak import soak

_KINDS = (
    rows_http,
    rows_limits,
    rows_machine,
    rows_workers,
    rows_redis,
    rows_network,
    rows_topology,
)
ROWS: tuple[Row, ...] = tuple(
    sorted((row for kind in _KINDS for row in kind.ROWS), key=lambda row: row.number)
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rows that were asked for."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.list:
        for row in ROWS:
            print(f"{row.number:3} {row.mode:3} {row.fault:40} {'/'.join(map(str, row.counts))}")
        return 0
    if args.soak:
        return _soaked(args)
    chosen = _chosen(parser, args.row, args.profile)
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 30)
    print(f"profile {args.profile}, seed {seed}, {len(chosen)} rows", flush=True)
    print(table.head(), flush=True)
    outcomes: list[Outcome] = []
    try:
        for row in chosen:
            repeat = args.repeat or row.count(args.profile) or row.count("standard")
            outcomes.append(run_row(row, repeat, seed + 1000 * row.number))
            print(table.line(outcomes[-1]), flush=True)
            for text in table.details(outcomes[-1]):
                print(text, flush=True)
    finally:
        if args.json:
            text = table.as_json(outcomes, profile=args.profile, seed=seed)
            Path(args.json).write_text(text + "\n", encoding="utf-8")
    failed = [str(one.row.number) for one in outcomes if one.state == "failed"]
    print(f"rows that failed: {', '.join(failed) or 'none'}; seed {seed}")
    return 1 if failed else 0


def _soaked(args: argparse.Namespace) -> int:
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 30)
    print(f"soak of {args.soak:g} minutes, seed {seed}", flush=True)
    outcome = soak(args.soak, seed)
    print("\n".join([table.head(), table.line(outcome), *table.details(outcome)]))
    if args.json:
        text = table.as_json([outcome], profile="soak", seed=seed)
        Path(args.json).write_text(text + "\n", encoding="utf-8")
    return 1 if outcome.state == "failed" else 0


def _parser() -> argparse.ArgumentParser:
    assert __doc__
    parser = argparse.ArgumentParser(
        prog="./peak faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--profile", choices=PROFILES, default="short", help="default: short")
    parser.add_argument("--row", type=int, action="append", metavar="N", help="only this row")
    parser.add_argument("--repeat", type=int, metavar="K", help="so often instead of the profile's")
    parser.add_argument("--seed", type=int, metavar="S", help="of the load's and nemesis' choices")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="a random nemesis for so long"
    )
    parser.add_argument("--list", action="store_true", help="the rows and their counts")
    return parser


def _chosen(parser: argparse.ArgumentParser, numbers: list[int] | None, profile: str) -> list[Row]:
    if not numbers:
        return [row for row in ROWS if row.count(profile)]
    known = {row.number: row for row in ROWS}
    for number in numbers:
        if number not in known:
            parser.error(f"no row {number}: there are {', '.join(map(str, known))}")
    return [known[number] for number in numbers]


def _terminated(*_: object) -> None:
    sys.exit(143)  # so that every `with` ends its processes


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(main())
