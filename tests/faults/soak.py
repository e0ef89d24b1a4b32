"""`./peak faults --soak MINUTES`: a random nemesis for a long time, and nothing may add up.

Memory and file descriptors are those of the processes that are never harmed (a client and a
gateway), each looked at when a third of the time has passed and at the end; the longest outages
come before, since a crowd leaves its mark on an allocator for good. Redis syncs each write (once a
second, it would answer with up to two seconds in its own memory only, while the disk is slow). Its
memory is measured at rest, before and after, without the keys that have a TTL.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Server, valkey

from .nemesis import Nemesis
from .processes import ROOT, Process
from .rows import Outcome, Row, Trial, run_row
from .stand import QUEUE, Stand
from .waiting import until_done

_MOST = 0.02
_LEASE_S = 5.0  # longer than any outage by the nemesis
_STRETCH = 5


@dataclass(frozen=True)
class Size:
    """Of one process at one moment."""

    memory: int
    files: int


def soak(minutes: float, seed: int) -> Outcome:
    """One long row."""

    def run(trial: Trial) -> None:
        _soak(trial, minutes * 60, seed)

    row = Row(52, f"random nemesis, {minutes:g} minutes", "S", (0, 5, 5), run)
    return run_row(row, 1, seed)


def _soak(trial: Trial, seconds: float, seed: int) -> None:
    with (
        valkey(appendonly="yes", appendfsync="always") as server,
        trial.stand(server, lease_s=_LEASE_S) as stand,
    ):
        before = _resting(server)
        nemesis = Nemesis(stand, server, seed)
        nemesis.staff()
        gateway = stand.gateway()
        assert stand.browse(rate=50, most=50, deadline_s=95).wait(120) == 0  # opens what it keeps
        time.sleep(1)
        files = gateway.files()
        client = stand.load(rate=40, deadline_s=60)
        immortal: dict[str, Process] = {"gateway": gateway, "client": client}
        stand.browse(rate=10, deadline_s=95)
        until_done(stand)
        nemesis.stretch(_STRETCH)
        sizes = _strike(trial, nemesis, seconds, immortal)
        stand.rest()
        _compare(trial, sizes)
        _files(trial, files, gateway)
        _redis(trial, before, _resting(server))
        _doctor(trial, stand)
        trial.note("struck " + ", ".join(f"{n} {name}" for name, n in nemesis.done.most_common()))
        trial.judge(stand, sometimes=("leased again", "stale publish"))


def _strike(
    trial: Trial, nemesis: Nemesis, seconds: float, immortal: dict[str, Process]
) -> dict[str, list[Size]]:
    """Strike until the time is over; the sizes on the way, the first after a third of it."""
    begun = looked = time.monotonic()
    sizes: dict[str, list[Size]] = {name: [] for name in immortal}
    while (now := time.monotonic()) - begun < seconds:
        nemesis.strike()
        if now - begun > seconds / 3 and (now - looked > 20 or not sizes["client"]):
            looked = now
            for name, child in immortal.items():
                assert child.running, f"{name} ended: {child.output()[-1000:]}"
                sizes[name].append(Size(child.memory(), child.files()))
    for name, child in immortal.items():
        sizes[name].append(Size(child.memory(), child.files()))
    return sizes


def _compare(trial: Trial, sizes: dict[str, list[Size]]) -> None:
    """The lower of the last looks against the higher of the first: load breathes, leaks do not."""
    for name, rows in sizes.items():
        count = max(1, len(rows) // 4)
        first, last = max(r.memory for r in rows[:count]), min(r.memory for r in rows[-count:])
        files = [min(r.files for r in rows[:count]), min(r.files for r in rows[-count:])]
        text = (
            f"{name}: {first / 2**20:.1f} → {last / 2**20:.1f} MiB, "
            f"{files[0]} → {files[1]} file descriptors under load"
        )
        trial.note(text)
        trial.expect(that=last - first <= _MOST * first, what=f"grown: {text}")


def _files(trial: Trial, before: int, gateway: Process) -> None:
    """Exact, at rest: under load their number is that of the clients of the moment."""
    time.sleep(2)
    text = f"gateway at rest: {before} → {gateway.files()} file descriptors"
    trial.note(text)
    trial.expect(that=gateway.files() <= before + 2, what=f"grown: {text}")


def _resting(server: Server) -> int:
    """Memory of Redis without what has a TTL, which goes by itself."""
    client = server.client()
    for key in list(client.scan_iter(count=1000)):
        if client.pttl(key) > 0:
            client.delete(key)
    return sum(int(client.memory_usage(key) or 0) for key in client.scan_iter(count=1000))


def _redis(trial: Trial, before: int, after: int) -> None:
    text = f"Redis keeps {before} → {after} bytes in keys without a TTL"
    trial.note(text)
    trial.expect(that=after <= max(before * 4, 16_384), what=f"grown: {text}")


def _doctor(trial: Trial, stand: Stand) -> None:
    words = ["doctor", "--url", stand.url, "--queue", QUEUE, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "pyclient.cli", *words],
        cwd=Path(ROOT),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)["findings"]
    bad = [one for one in found if one["state"] == "problem"]
    trial.note(f"doctor: {len(found)} looks, {len(bad)} problems")
    trial.expect(that=done.returncode == 0 and not bad, what=f"doctor: {bad}")
