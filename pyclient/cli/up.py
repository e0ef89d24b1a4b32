"""`peakshaver up`: the line in front of an API, in one command."""

from __future__ import annotations

import argparse
from dataclasses import replace

from pyclient.demo.up import Options, main
from pyclient.settings import load
from pyclient.settings_parse import http_url


def add(parser: argparse.ArgumentParser) -> None:
    """The target, and how much of it is to be used at once."""
    parser.add_argument(
        "target",
        nargs="?",
        type=_target,
        metavar="TARGET",
        help="address of the API, as http://localhost:9000 (default: "
        "FAST_PRIORITY_TARGET_BASE_URL, else a small example)",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port of the gateway (8000, else a free one)")
    parser.add_argument("--workers", type=_count, help="worker processes (2)")
    parser.add_argument("--concurrency", type=_count, help="requests at once in each (8)")


def _target(text: str) -> str:
    try:
        return str(http_url(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {error}, got {text!r}") from None


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected 0..65535, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"expected 1..1024, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    settings = load()
    options = Options(
        settings=settings,
        target=args.target,
        host=args.host,
        port=args.port,
        as_json=args.json,
    )
    concurrency = args.concurrency
    if concurrency is None and "PEAK_WORKER_CONCURRENCY" in settings.origins:
        concurrency = settings.worker_concurrency
    workers = args.workers or settings.workers or options.workers
    return main(replace(options, workers=workers, concurrency=concurrency or options.concurrency))
