"""What a run is asked to do, and the frame that each result stands in."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import machine

REPEATS = 5


@dataclass(frozen=True)
class Options:
    """`quick` is for a look, and to see that it works: one short repeat of everything."""

    quick: bool = False
    repeats: int = REPEATS
    seconds: float = 1.5
    systems: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    server: str | None = None
    command: str = ""

    def amount(self, full: int, quick: int) -> int:
        """How much of something."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Check:
    """Something that is promised, and what came of it. `value` None: not measured here."""

    claim: str
    bound: float
    value: float | None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it holds; None where it was not measured."""
        if self.value is None:
            return None
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def as_json(self) -> dict[str, Any]:
        """As the result files have it."""
        return {
            "claim": self.claim,
            "bound": f"{'<=' if self.at_most else '>='} {self.bound:g}",
            "value": self.value,
            "met": self.met,
        }


def result_of(
    part: str, options: Options, server: str, measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The figures of `measure`, in the frame."""
    facts, began = machine.facts(), time.monotonic()
    figures = measure()
    facts["load_after"] = machine.load()
    facts["steal_s"] = round(machine.steal() - facts["steal_s"], 2)
    return {
        "part": part,
        "command": options.command,
        "server": server,
        "quick": options.quick,
        "repeats": options.repeats,
        "took_s": round(time.monotonic() - began, 1),
        "machine": facts,
        **figures,
    }


def interleaved(
    names: Sequence[str],
    repeats: int,
    one: Callable[[str, int], dict[str, Any]],
    *,
    once: Sequence[str] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Each name once, then each again; so company on the machine hits all of them alike. Every
    repeat begins with another name. Those of `once` are in the first repeat only."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for repeat in range(repeats):
        turn = repeat % max(1, len(names))
        for name in (*names[turn:], *names[:turn]):
            if repeat and name in once:
                continue
            figures = one(name, repeat)
            runs[name].append(figures)
            failed = f"  {figures['failed']}" if "failed" in figures else ""
            say(f"{repeat + 1}/{repeats} {name}{failed}")
    return runs


def say(text: str) -> None:
    """Progress; results go to stdout or to the file."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
