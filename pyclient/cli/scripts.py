"""`peakshaver scripts`: the Lua scripts, for looking at them and for clients of other languages."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import os
import sys
from pathlib import Path

from pyclient.errors import ConfigError
from pyclient.scripts import Script, load_scripts

from .manifest import entry, manifest
from .output import OK, USAGE, print_json, print_table
from .reach import add_json, add_redis, opened


def add(parser: argparse.ArgumentParser) -> None:
    """The verbs below it."""
    below = parser.add_subparsers(dest="action", required=True, metavar="list|load|show|export")
    below.add_parser("list", help="name, SHA1 and purpose of each")
    load = below.add_parser("load", help="SCRIPT LOAD all of them")
    add_redis(load)
    show = below.add_parser("show", help="one bundle as it is loaded")
    show.add_argument("name")
    export = below.add_parser("export", help="write each as NAME.lua, and manifest.json")
    export.add_argument("directory", metavar="DIR", type=Path)
    add_json(below)


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says."""
    scripts = load_scripts()
    if args.action == "list":
        return _list(args, scripts)
    if args.action == "show":
        return _show(args, scripts)
    if args.action == "export":
        return _export(args, scripts)
    return asyncio.run(_load(args, scripts))


def _list(args: argparse.Namespace, scripts: dict[str, Script]) -> int:
    if args.json:
        print_json([entry(script) for script in scripts.values()])
    else:
        rows = [(one.name, one.sha, len(one.text), one.header.summary) for one in scripts.values()]
        print_table(("NAME", "SHA1", "BYTES", "DOES"), rows)
    return OK


def _show(args: argparse.Namespace, scripts: dict[str, Script]) -> int:
    script = scripts.get(args.name)
    if script is None:
        close = difflib.get_close_matches(args.name, scripts, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(scripts)}"
        print(f"peakshaver scripts show: no script {args.name!r}; {hint}", file=sys.stderr)
        return USAGE
    if args.json:
        print_json({**entry(script), "text": script.text.decode()})
    else:
        sys.stdout.write(script.text.decode())
    return OK


def _export(args: argparse.Namespace, scripts: dict[str, Script]) -> int:
    folder: Path = args.directory
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for script in scripts.values():
            _write(folder / f"{script.name}.lua", script.text)
        _write(folder / "manifest.json", json.dumps(manifest(scripts), indent=2).encode() + b"\n")
    except OSError as error:
        raise ConfigError(f"{folder}: can't write there: {error}") from None
    if args.json:
        print_json({"directory": str(folder), "scripts": {s.name: s.sha for s in scripts.values()}})
    else:
        print(f"{len(scripts)} scripts and manifest.json in {folder}")
    return OK


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a client may read while a new release is exported."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


async def _load(args: argparse.Namespace, scripts: dict[str, Script]) -> int:
    async with opened(args) as redis:
        await redis.conn.load(scripts.values())
    if args.json:
        print_json({script.name: script.sha for script in scripts.values()})
    else:
        print(f"{len(scripts)} scripts loaded at {redis.address}")
    return OK
