"""What a fleet needs, calculated from what was measured: `python -m bench.model [RATE …]`.

A call of a script costs Redis `fixed + tasks · each` µs. A client has one writing call in flight,
and what gathers meanwhile goes with the next. So calls are as large as they have to be: either the
way there and back lets that many gather, or, where Redis has no time for more calls, the wait for
a turn does. In the second case Redis is busy all the time and yet nothing piles up; what grows
with the number of clients is the time of a turn, for all of them take turns.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness.tables import number, table

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "benchmarks"
RATES = (100_000, 1_000_000)
BATCH = 64
NETWORK_US = 200.0  # there and back in one data centre, at both ends
BUSY = 0.7  # how much of what is there is planned for; the rest is for bursts and lost neighbours
LINE_MS = 20.0  # what the line may add to a request on its way through Redis
CALLS = 4  # one after the other: admit, claim or publish-and-next, publish, the answer read
# What is modelled, and the role that submits: its processes take turns at a shard.
MODES = {"round trips": "submit", "hold": "gateway", "worker": "gateway"}


@dataclass(frozen=True)
class Costs:
    """µs of one core. Scripts: one call of each kind goes with a batch of a submitter, or of a
    worker; `outside` is what Redis spends per request on sockets."""

    fixed: float
    each: float
    outside: float
    roles: dict[str, float]
    net_bytes: float

    def redis_us(self, tasks: float) -> float:
        """Of Redis per request, at so many tasks a call on both sides."""
        return self.fixed / tasks + self.each + self.outside

    def own_us(self, tasks: float) -> float:
        """Of Redis for one call; half of a request's cost is its submitter's, half its worker's."""
        return self.redis_us(tasks) * tasks / 2


def tasks_a_call(costs: Costs, rate: float, clients: int) -> float:
    """How large calls get at a shard with so many submitters and as many workers; may be more
    than a call holds."""
    spare = 1e6 / rate - costs.each - costs.outside
    by_turns = costs.fixed / spare if spare > 0 else math.inf
    # Gathered on the way: n = rate / clients · (network + own_us(n)), which is linear in n.
    share = rate / clients / 1e6
    rest = 1 - share * (costs.each + costs.outside) / 2
    by_way = share * (NETWORK_US + costs.fixed / 2) / rest if rest > 0 else math.inf
    return max(1.0, by_turns, by_way)


def call_ms(costs: Costs, rate: float, clients: int) -> float:
    """How long a call takes its client: the way, its turn, its own time."""
    size = tasks_a_call(costs, rate, clients)
    busy = min(0.999, rate * costs.redis_us(size) / 1e6)
    own = costs.own_us(size)
    turns = clients * size / rate * 1e6  # when each client has its turn again
    queued = min(own * busy / (2 * (1 - busy)), turns)
    return (NETWORK_US + own + queued) / 1000


def fits(costs: Costs, rate: float, clients: int) -> bool:
    """Whether a shard serves that rate with what is planned for bursts, in the time allowed."""
    if tasks_a_call(costs, rate / BUSY, clients) > BATCH:
        return False
    return CALLS * call_ms(costs, rate, clients) <= LINE_MS


def clients_for(costs: Costs, rate: float, role: str) -> int:
    """Processes of a role."""
    return max(1, math.ceil(rate * costs.roles[role] / 1e6 / BUSY))


def cell(costs: Costs, role: str) -> float:
    """The most that one shard does with gateways and workers of its own: a queue by itself."""
    return _most(lambda rate: fits(costs, rate, clients_for(costs, rate, role)))


def shards(costs: Costs, rate: float, role: str) -> int:
    """How many shards one queue takes whose clients all write to all of its shards."""
    clients = clients_for(costs, rate, role)
    most = _most(lambda one: fits(costs, one, clients))
    return math.ceil(rate / most) if most >= 1 else 0


def _most(possible: Callable[[float], bool]) -> float:
    low, high = 0.0, 1e6
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if possible(middle) else (low, middle)
    return low


# -- where the costs come from ----------------------------------------------------------------


def measured(mode: str, folder: Path = RESULTS) -> Costs:
    """From the result files of roundtrip, profile and http. Raises FileNotFoundError."""
    trips = _rows(folder, "roundtrip")["peakshaver"]["512"]
    scripts = json.loads((folder / "profile.json").read_text())["scripts"]
    fixed = each = 0.0
    for name in ("admit", "publish, and the next"):
        alone, full = (scripts[str(size)][name]["us"] for size in (1, BATCH))
        slope = (full - alone) / (BATCH - 1)
        fixed, each = fixed + alone - slope, each + slope
    roles = {"submit": trips["cpu_submitter_us"], "worker": trips["cpu_worker_us"]}
    if mode != "round trips":
        cpu = _rows(folder, "http")[mode]["256"]["cpu_us"]
        roles = {role: us for role, us in cpu.items() if role not in ("app", "redis")}
    outside = max(0.0, trips["cpu_redis_us"] - trips["script_us"])
    return Costs(fixed, each, outside, roles, trips["net_bytes"])


def _rows(folder: Path, part: str) -> dict[str, Any]:
    rows: dict[str, Any] = json.loads((folder / f"{part}.json").read_text())["rows"]
    return rows


def page(rates: Sequence[float], folder: Path = RESULTS) -> str:
    """The tables of docs/explanation/scaling.md."""
    parts: list[str] = []
    for mode, role in MODES.items():
        costs = measured(mode, folder)
        most = cell(costs, role)
        rows = []
        for rate in rates:
            processes = ", ".join(f"{one} {clients_for(costs, rate, one):,}" for one in costs.roles)
            cells = math.ceil(rate / most)
            whole = number(shards(costs, rate, role) or None)
            network = number(rate * costs.net_bytes * 8 / 1e9, 1)
            rows.append((number(rate), processes, number(cells), whole, network))
        roles = ", ".join(f"{one} {us:.0f}" for one, us in costs.roles.items())
        parts.append(f"**{mode}**: µs of a core a request: {roles}; Redis {_by_batch(costs)}.\n")
        head = ("a second", "processes", "cells of one shard", "shards of one queue")
        parts.append(table((*head, "Gbit/s at Redis"), rows))
    return "\n".join(parts)


def _by_batch(costs: Costs) -> str:
    return ", ".join(f"{costs.redis_us(size):.0f} in calls of {size}" for size in (1, 4, 16, 64))


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    parser.add_argument("rates", nargs="*", type=float, default=RATES, metavar="RATE")
    rates = parser.parse_args().rates
    try:
        print(page(rates))
    except FileNotFoundError as error:
        print(f"{error.filename} is missing: run ./peak bench all first", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
