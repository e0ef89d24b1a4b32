"""The entry point: finds the verb, reads its arguments, and turns errors into exit codes.

0 ok · 1 a problem was found · 2 wrong usage · 3 Redis can't be reached. With `--json` stdout holds
one JSON value whatever happens, save for wrong usage; messages for people go to stderr.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from pyclient.errors import PeakError, Unavailable

from .output import OK, PROBLEM, UNREACHABLE, USAGE, print_json

VERBS = {
    "up": "put the line in front of an API, in one command",
    "gateway": "run the gateway, a reverse proxy that queues",
    "worker": "run workers",
    "demo": "the same peak with and without the line, side by side",
    "scripts": "list, load, show or export the Lua scripts",
    "config": "show, check or document the settings",
    "queue": "look at queues; pause, resume, close and set them",
    "dead": "list dead letters and bring them back",
    "doctor": "check server, scripts and queue",
    "acl": "print a least-privilege user of Redis for a role",
    "bench": "load an address with fixed arrivals, or measure round trips",
    "version": "what runs here",
}
# These hand their arguments on, `--help` and `--json` included.
_PASSED_ON = ("gateway", "worker")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = False
    while words and words[0] == "--json":
        as_json = True
        words.pop(0)
    if not words or words[0].startswith("-") or words[0] == "help":
        return _about(words)
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        return _unknown(verb)
    try:
        return _run(verb, ["--json", *rest] if as_json else rest)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else PROBLEM
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PROBLEM


def _run(verb: str, rest: list[str]) -> int:
    module = importlib.import_module(f"{__package__}.{verb}")
    if verb in _PASSED_ON:
        return int(module.run_words(rest))
    parser = argparse.ArgumentParser(
        prog=f"peakshaver {verb}",
        description=f"{VERBS[verb][0].upper()}{VERBS[verb][1:]}.",
        allow_abbrev=False,
    )
    module.add(parser)
    if not parser.get_default("own_json"):
        parser.add_argument("--json", action="store_true", help="one JSON value on stdout")
    args = parser.parse_args(rest)
    try:
        return int(module.run(args))
    except PeakError as error:
        return _failed(verb, error, as_json=bool(args.json))


def _failed(verb: str, error: PeakError, *, as_json: bool) -> int:
    if as_json:
        print_json({"error": str(error), "kind": type(error).__name__})
    print(f"peakshaver {verb}: {error}", file=sys.stderr)
    if not isinstance(error, Unavailable):
        return PROBLEM
    print(
        "PEAK_REDIS_URL or --url names the server; `peakshaver up` brings its own.", file=sys.stderr
    )
    return UNREACHABLE


def _about(words: list[str]) -> int:
    if words and words[0] not in ("-h", "--help", "help", "-V", "--version"):
        print(f"peakshaver: {words[0]!r} stands before the verb; expected one of:", file=sys.stderr)
        print(_usage(), file=sys.stderr)
        return USAGE
    if words and words[0] in ("-V", "--version"):
        return _run("version", words[1:])
    if len(words) > 1 and words[1] in VERBS:
        return main([words[1], "--help"])
    print(_usage(), file=sys.stdout if words else sys.stderr)
    return OK if words else USAGE


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = ["usage: peakshaver VERB [arguments] [--json]", ""]
    lines += [f"  {verb:{width}}  {what}" for verb, what in VERBS.items()]
    lines += ["", "`peakshaver VERB --help` tells the rest."]
    lines.append("Exit: 0 ok, 1 a problem was found, 2 wrong usage, 3 no Redis.")
    return "\n".join(lines)


def _unknown(verb: str) -> int:
    close = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(VERBS)}"
    print(f"peakshaver: no verb {verb!r}; {hint}", file=sys.stderr)
    return USAGE
