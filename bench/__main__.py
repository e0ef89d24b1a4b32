"""`./peak bench`: measures this machine.

    ./peak bench                   a first look: round trips of the line, no peers needed
    ./peak bench --peers [NAME …]  set up the systems to be measured against, once
    ./peak bench PART [--quick] [--json FILE] [--plots DIR]
    ./peak bench all [--quick]     every part, and docs/explanation/benchmarks.md from them
    ./peak bench report            the page alone, from the results that are there
    ./peak bench URL --rate 50     an open-loop load on any HTTP address (peakshaver bench)

`PYTHONPATH=. python -m bench PART` is the same, in an environment of your own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import peers, report
from bench.harness import tables
from bench.harness.options import REPEATS, Options

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("roundtrip", "queue", "ceiling", "http", "growth", "scripts", "scale", "profile")


def part(name: str) -> ModuleType:
    """The module of a part."""
    return importlib.import_module(f"bench.parts.{name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0, or 1 where it could not be done."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    if args[:1] == ["--peers"]:
        return peers.set_up(args[1:])
    if args and args[0].startswith(("http://", "https://")):
        os.execv(sys.executable, [sys.executable, "-m", "pyclient.cli", "bench", *args])
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        os.execv(sys.executable, [sys.executable, str(ROOT / "bench" / "roundtrip.py"), *args])
    asked = parser().parse_args(args)
    signal.signal(signal.SIGTERM, _end)  # so that what was started is ended
    names = {"all": PARTS, "report": ()}.get(asked.part, (asked.part,))
    for name in names:
        keep(run(name, options_of(asked)), asked)
    if asked.part in ("all", "report"):
        report.write()
    return 0


def _end(*_: object) -> None:
    raise SystemExit(143)


def parser() -> argparse.ArgumentParser:
    """The command line of a part."""
    summaries = "\n".join(f"  {name:10} {part(name).SUMMARY}" for name in PARTS)
    made = argparse.ArgumentParser(
        prog="./peak bench",
        description=f"{__doc__}\nparts:\n{summaries}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("part", choices=[*PARTS, "all", "report"], metavar="PART")
    made.add_argument("--quick", action="store_true", help="one short repeat of everything")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    made.add_argument("--plots", type=Path, metavar="DIR", help="write PNG and SVG there")
    made.add_argument("--repeats", type=int, help=f"of which the medians are ({REPEATS})")
    made.add_argument("--seconds", type=float, default=1.5, help="of each phase (1.5)")
    made.add_argument("--systems", default="", help="only these: NAME[.VARIANT],…")
    made.add_argument("--gateways", default="", help="of the part http, only these: hold,bare,…")
    made.add_argument("--server", help="path of a redis-server or valkey-server; or `embedded`")
    return made


def options_of(asked: argparse.Namespace) -> Options:
    """What the parts get to know."""
    server = asked.server
    if server == "embedded":
        from bench.harness.server import embedded_server

        server = embedded_server()
    return Options(
        quick=asked.quick,
        repeats=asked.repeats or (1 if asked.quick else REPEATS),
        seconds=asked.seconds,
        systems=tuple(name for name in asked.systems.split(",") if name),
        gateways=tuple(name for name in asked.gateways.split(",") if name),
        server=server,
        command=" ".join(["./peak bench", *sys.argv[1:]]),
    )


def run(name: str, options: Options) -> dict[str, Any]:
    """The result of a part, its checks among it; shown on stdout."""
    module = part(name)
    result: dict[str, Any] = module.measure(options)
    result["checks"] = [one.as_json() for one in module.check(result)]
    print(f"## {name}\n\n{module.show(result)}\n{tables.checks(result['checks'])}", flush=True)
    return result


def keep(result: dict[str, Any], asked: argparse.Namespace) -> None:
    """Write what was asked for; of `all` everything, where the page takes it from."""
    file, folder = asked.json, asked.plots
    if asked.part == "all":
        file, folder = report.RESULTS / f"{result['part']}.json", report.RESULTS
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_lean(result), indent=1, ensure_ascii=False) + "\n")
    if folder is not None:
        part(result["part"]).draw(result, folder)


def _lean(value: Any) -> Any:
    """Eight digits are enough, and the commands by name are kept of the medians only."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, list):
        return [_lean(one) for one in value]
    if isinstance(value, dict):
        runs = value.get("runs", {})
        for run in (run for several in runs.values() for run in several):
            for phase in run.values():
                if isinstance(phase, dict):
                    phase.pop("by_name", None)
        return {name: _lean(one) for name, one in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main())
