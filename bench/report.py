"""Writes docs/explanation/benchmarks.md from the results that lie beside it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import model
from bench.harness import tables
from bench.harness.options import say

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"
RESULTS = PAGE.with_suffix("")
SCALING = PAGE.with_name("scaling.md")
MARKS = ("<!-- model: written by ./peak bench report -->", "<!-- end of model -->")
TITLES = {
    "roundtrip": "Round trips",
    "queue": "A backlog: in, out, and at rest",
    "ceiling": "What the machine allows",
    "http": "HTTP",
    "growth": "Growth",
    "scripts": "Each script, by Redis's own count",
    "scale": "More than one process",
    "profile": "Where the microseconds go",
}
HEAD = """# Benchmarks

Written by the harness, not by hand: `./peak bench --peers`, then `./peak bench all`. What is
measured and how is in [bench/README.md](../../bench/README.md), why the figures are what they are
in [performance.md](performance.md), what they mean for a fleet in [scaling.md](scaling.md).

Everything of a section ran interleaved in one run on one machine; ratios within it are what to
read. The figures in full, repeat by repeat, lie beside this page as JSON. Where a command below
says `--quick`, it was one repeat of half a second: a look, not a measurement.
"""


def write() -> None:
    """The page, of whatever parts were measured. A result from before a part changed is said."""
    found = {name: load(name) for name in TITLES}
    there = {name: result for name, result in found.items() if result is not None}
    promised = "\n".join(
        f"{TITLES[name]}\n\n{tables.checks(result['checks'])}"
        for name, result in there.items()
        if result["checks"]
    )
    sections = [section(name, result) for name, result in there.items()]
    parts = [HEAD, f"## What is promised\n\n{promised}", *sections]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(part.strip() + "\n" for part in parts))
    if SCALING.is_file():
        try:
            calculated = model.page(model.RATES, RESULTS).strip()
        except (FileNotFoundError, KeyError) as error:
            say(f"scaling.md stays as it is: {error} was not measured")
        else:
            SCALING.write_text(between(SCALING.read_text(), *MARKS, f"\n\n{calculated}\n\n"))


def between(text: str, first: str, last: str, new: str) -> str:
    """The text with what stands between two marks replaced."""
    before, mark, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not mark or not end:
        raise ValueError(f"expected the marks {first} and {last}")
    return before + mark + new + end + after


def load(name: str) -> dict[str, Any] | None:
    """The result of a part, if it was measured."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def section(name: str, result: dict[str, Any]) -> str:
    """One part: what, where and when, tables, plots."""
    module = importlib.import_module(f"bench.parts.{name}")
    plots = sorted(RESULTS.glob(f"{name}-*.svg")) + sorted(RESULTS.glob(f"{name}.svg"))
    lines = [
        f"## {TITLES[name]}",
        "",
        f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}.",
        "",
        _where(result),
        "",
        module.show(result),
        *(f"![{path.stem}]({RESULTS.name}/{path.name})" for path in plots),
    ]
    return "\n".join(lines)


def _where(result: dict[str, Any]) -> str:
    machine = result["machine"]
    settings = ", ".join(f"{name} {_plain(value)}" for name, value in result["settings"].items())
    versions = {**machine["versions"], **result.get("peers", {})}
    words = ", ".join(f"{name} {version}" for name, version in versions.items() if version != "-")
    quick = " **A quick look, not a measurement.**" if result["quick"] else ""
    return (
        f"`{result['command']}` at {machine['commit']}, {machine['date']}, {result['took_s']:g} s, "
        f"{result['repeats']} repeats.{quick} {result['server']}; {machine['cores']} cores "
        f"({machine['processor']}), {machine['system']}, Python {machine['python']}. Load average "
        f"{machine['load_before']:g} before and {machine['load_after']:g} after, stolen "
        f"{machine['steal_s']:g} s. Settings: {settings}. Versions: {words}."
    )


def _plain(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "/".join(str(one) for one in value)
    return str(value)
