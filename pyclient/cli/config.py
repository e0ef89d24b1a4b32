"""`peakshaver config`: the settings as they are read, checked, and documented."""

from __future__ import annotations

import argparse
import sys

from pyclient.errors import ConfigError
from pyclient.settings import load, render_docs, shown
from pyclient.settings_table import TABLE

from .output import OK, PROBLEM, print_json, print_table
from .reach import add_json


def add(parser: argparse.ArgumentParser) -> None:
    """The verbs below it."""
    below = parser.add_subparsers(dest="action", required=True, metavar="show|check|docs")
    show = below.add_parser("show", help="each setting, its value and where it comes from")
    show.add_argument("--changed", action="store_true", help="only those that are set")
    below.add_parser("check", help="exit 1 and say why if one is wrong")
    below.add_parser("docs", help="the table of all settings as Markdown")
    add_json(below)


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says."""
    if args.action == "docs":
        return _docs(args)
    return _check(args) if args.action == "check" else _show(args)


def _show(args: argparse.Namespace) -> int:
    settings = load()
    changed = getattr(args, "changed", False)
    rows = [row for row in shown(settings) if not changed or row[2] != "default"]
    if args.json:
        print_json({s.name: {"value": text, "origin": origin} for s, text, origin in rows})
        return OK
    print_table(("NAME", "VALUE", "FROM"), [(s.name, text, origin) for s, text, origin in rows])
    for note in settings.notes:
        print(f"note: {note}", file=sys.stderr)
    return OK


def _check(args: argparse.Namespace) -> int:
    try:
        settings = load()
    except ConfigError as error:
        if args.json:
            print_json({"ok": False, "error": str(error)})
        print(f"peakshaver config check: {error}", file=sys.stderr)
        return PROBLEM
    if args.json:
        print_json({"ok": True, "set": sorted(settings.origins), "notes": settings.notes})
    else:
        print(f"ok: {len(settings.origins)} of {len(TABLE)} settings are set")
        for note in settings.notes:
            print(f"note: {note}")
    return OK


def _docs(args: argparse.Namespace) -> int:
    if args.json:
        print_json(
            [
                {
                    "name": s.name,
                    "aliases": s.aliases,
                    "value": s.kind,
                    "default": s.shown,
                    "secret": s.secret,
                    "doc": s.doc,
                }
                for s in TABLE
            ]
        )
    else:
        print(render_docs())
    return OK
