"""`peakshaver demo`: the same peak with and without the line, side by side."""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from pyclient.demo.run import Options, main
from pyclient.settings import load


def add(parser: argparse.ArgumentParser) -> None:
    """How long, how large, and what to leave behind."""
    parser.add_argument("--seconds", type=_seconds, default=15.0, help="length of the peak (15)")
    parser.add_argument("--slots", type=_slots, default=20, help="the backend's capacity (20)")
    parser.add_argument("--keep", action="store_true", help="leave it up for curl; Ctrl-C ends it")
    parser.add_argument(
        "--json",
        nargs="?",
        const=True,
        type=_file,
        metavar="FILE",
        help="write the figures to FILE; without one to stdout",
    )
    parser.set_defaults(own_json=True)


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and 1 <= value <= 600):
        raise argparse.ArgumentTypeError(f"expected 1..600 seconds, got {text}")
    return value


def _slots(text: str) -> int:
    value = int(text)
    if not 2 <= value <= 200 or value % 2:
        raise argparse.ArgumentTypeError(f"expected an even number 2..200, got {text}")
    return value


def _file(text: str) -> Path:
    """A file that can be written: better known now than after the demo."""
    path = Path(text)
    try:
        with tempfile.NamedTemporaryFile(dir=path.absolute().parent):
            return path
    except OSError as error:
        raise argparse.ArgumentTypeError(f"can't write {text}: {error.strerror}") from None


def run(args: argparse.Namespace) -> int:
    """Run it; 0 only if the line has kept its promises."""
    report = args.json if isinstance(args.json, Path) else None
    return main(
        Options(
            seconds=args.seconds,
            slots=args.slots,
            keep=args.keep,
            report=report,
            to_stdout=args.json is True,
            redis_url=load().redis_url,
        )
    )
