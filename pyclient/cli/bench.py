"""`peakshaver bench`: an open-loop load on any HTTP address, or the round trips of this machine."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyclient.demo.client import Peak
from pyclient.demo.limits import raise_file_limit
from pyclient.demo.tally import Arrival, arrivals
from pyclient.errors import ConfigError
from pyclient.settings_parse import http_url

from .hdr import Histogram
from .output import OK, PROBLEM, print_json, print_table

ROUNDTRIP = Path(__file__).resolve().parents[2] / "bench" / "roundtrip.py"
_MOST = 1_000_000


def add(parser: argparse.ArgumentParser) -> None:
    """What to send, and how fast."""
    parser.add_argument(
        "url", nargs="?", help="what to load with GET (default: bench/roundtrip.py of the checkout)"
    )
    parser.add_argument("--rate", type=_positive, default=50, help="requests a second (50)")
    parser.add_argument("--seconds", type=_positive, default=10, help="how long (10)")
    parser.add_argument(
        "--peak",
        type=_peak,
        metavar="RATE@SECONDS",
        help="then so many more seconds at this rate, and then --rate again",
    )
    parser.add_argument(
        "--hdr", type=Path, metavar="FILE", help="write the times of what was ok, as HdrHistogram"
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= _MOST:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _peak(text: str) -> tuple[float, float]:
    rate, at, seconds = text.partition("@")
    if not at:
        raise argparse.ArgumentTypeError(f"expected RATE@SECONDS, as 500@10, got {text!r}")
    return _positive(rate), _positive(seconds.removesuffix("s"))


def run(args: argparse.Namespace) -> int:
    """Play it; 1 where a request got no answer."""
    if args.url is None:
        return _roundtrip()
    try:
        http_url(args.url.partition("?")[0])
    except ValueError as error:
        raise ConfigError(f"expected {error}, got {args.url!r}") from None
    if args.url.startswith("https:"):
        raise ConfigError("expected http://: the load is sent without TLS")
    peak = args.peak or (0.0, 0.0)
    count = args.rate * args.seconds + peak[0] * peak[1]
    if count > _MOST:
        raise ConfigError(f"{count:,.0f} requests, expected {_MOST:,} at most")
    plan = make_plan(args.rate, args.seconds, args.peak)
    figures, times = asyncio.run(_play(args.url, plan))
    if args.hdr is not None:
        args.hdr.write_text(times.distribution())
    if args.json:
        print_json({"url": args.url, **figures})
    else:
        _show(figures)
    return PROBLEM if figures["lost"] else OK


def _roundtrip() -> int:
    """Become the harness of the checkout, which writes its own JSON."""
    if not ROUNDTRIP.is_file():
        raise ConfigError("expected a URL: the harness of round trips is in the checkout only")
    server = "redis-server" if shutil.which("redis-server") else "embedded"
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(ROUNDTRIP), "--server", server])


def make_plan(rate: float, seconds: float, peak: tuple[float, float] | None) -> list[Arrival]:
    """The base load, or base, peak and base again."""
    phases = [(rate, seconds)]
    if peak is not None:
        phases = [(rate, seconds / 2), peak, (rate, seconds / 2)]
    plan, start = [], 0.0
    for number, (each, length) in enumerate(phases):
        phase = arrivals(each, length, 1.0, seed=number)
        plan += [Arrival(start + at, kind) for at, kind in phase]
        start += length
    return plan


async def _play(url: str, plan: list[Arrival]) -> tuple[dict[str, Any], Histogram]:
    """The figures, and the times of what was ok: each from the moment at which it was due."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    peak = Peak(url, plan, raise_file_limit() - 64, lambda *_: path)
    await peak.play()
    said, times = peak.tally.figures(), Histogram(peak.tally.ok_s["high"])
    plain = ("refused", "refused_p99_ms", "failed", "lost", "statuses")
    figures = {
        **{name: said[name]["high"] for name in ("offered", "ok")},
        **{f"p{name}_ms": _millis(times.at(float(name))) for name in ("50", "90", "99", "99.9")},
        "longest_ms": _millis(times.longest_us if times.total else None),
        **{name: said[name] for name in plain},
        "seconds": round(plan[-1].at, 3) if plan else 0.0,
        "connections": peak.connections_made,
        "client_late_p99_ms": said["client_late_p99_ms"],
        "histogram_us": times.counts(),
    }
    return figures, times


def _millis(micros: int | None) -> float | None:
    return None if micros is None else micros / 1000


def _show(figures: dict[str, Any]) -> None:
    names = "offered ok p50_ms p90_ms p99_ms p99.9_ms longest_ms refused failed lost connections"
    head = [name.replace("_", " ").upper() for name in names.split()]
    print_table(head, [[figures[name] for name in names.split()]])
