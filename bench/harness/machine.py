"""The machine that a figure comes from: what it is, and how busy it was with something else."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PACKAGES = ("redis", "hiredis", "uvloop", "httptools", "uvicorn", "fastapi", "msgpack")


def facts() -> dict[str, Any]:
    """What has to stand beside every figure."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "load_before": load(),
        "steal_s": steal(),
    }


def load() -> float:
    """Load average of the last minute: above 0.3 before a run means company."""
    return round(os.getloadavg()[0], 2)


def steal() -> float:
    """Seconds that the hypervisor took from this machine since its start."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    return int(fields[8]) / TICKS if len(fields) > 8 else 0.0


def session_cpu(leader: int) -> float:
    """CPU seconds of a session's living processes and of all that descend from them, with those
    of their ended children."""
    return sum(int(field) for one in _family(leader) for field in one[11:15]) / TICKS


def resident_bytes(leader: int) -> int:
    """Memory of the same processes."""
    return sum(int(one[21]) for one in _family(leader)) * os.sysconf("SC_PAGE_SIZE")


def _family(leader: int) -> list[list[str]]:
    """The fields of /proc/PID/stat, counted from the state on."""
    everyone: dict[int, list[str]] = {}
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            try:
                text = Path(f"/proc/{folder}/stat").read_text()
            except OSError:
                continue
            everyone[int(folder)] = text.rpartition(")")[2].split()
    family = {pid for pid, fields in everyone.items() if pid == leader or int(fields[3]) == leader}
    grown = True
    while grown:  # some start their children in sessions of their own
        more = {pid for pid, fields in everyone.items() if int(fields[1]) in family} - family
        family |= more
        grown = bool(more)
    return [everyone[pid] for pid in family if pid in everyone]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
