"""What a test may leave behind: permanent keys, keys with a TTL, and no processes.

The law of keys (ARCHITECTURE.md): every key has a TTL or is on the permanent list, and what
tasks leave is gone when they have ended. A key without either is a leak that fills Redis.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import redis

from pyclient import embedded

from . import servers

# Without TTL for good: settings, counters, records.
RECORDS = ("conf", "clock", "service", "stats", "workers", "audit", "dead", "wholes")
# Without TTL as long as tasks live; gone afterwards.
LIVING = (
    "tasks",
    "wait:*",
    "ready:*",
    "lanes:*",
    "routes",
    "places",
    "leases",
    "run",
    "due",
)
_KEY = re.compile(r"^[^{}]+:\{[^{}]+\}:(?P<name>.+)$")
# Helpers of multiprocessing that live as long as the test process.
_PYTHONS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def leaked_keys(
    client: redis.Redis, *, living: bool = False, patterns: Iterable[str] = ()
) -> list[str]:
    """Keys that should not be there; `living` allows those of tasks that have not ended."""
    allowed = (*RECORDS, *(LIVING if living else ()))
    found = []
    for raw in client.scan_iter(count=1000):
        key = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
        match = _KEY.match(key)
        name = match["name"] if match else ""
        if any(fnmatchcase(name, pattern) for pattern in allowed):
            continue
        if any(fnmatchcase(key, pattern) for pattern in patterns):
            continue
        if client.pttl(raw) == -1:
            found.append(key)
    return sorted(found)


def settled_keys(
    client: redis.Redis, *, living: bool, patterns: Iterable[str], timeout: float = 1.0
) -> list[str]:
    """`leaked_keys`, after a moment for what is still ending."""
    until = time.monotonic() + timeout
    while True:
        found = leaked_keys(client, living=living, patterns=patterns)
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.02)


def children() -> dict[int, str]:
    """Processes that come from this one, with their command lines; zombies are none.

    Those are its direct children and, wherever they have gone, those that inherited our mark
    (an orphan has init as its parent). Empty where there is no /proc.
    """
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            ours = int(parent) == os.getpid() or _mark() in (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if ours and state != "Z" and not any(name in command for name in _PYTHONS_OWN):
            found[pid] = command
    return found


def _mark() -> bytes:
    return f"TEST_OF_PEAK={os.environ.get('TEST_OF_PEAK', 'unset')}".encode()


def set_mark() -> None:
    """Have all further processes bear the number of this one."""
    os.environ["TEST_OF_PEAK"] = f"<{os.getpid()}>"


def _sanctioned() -> set[int]:
    """Sessions of servers that live longer than a test on purpose."""
    sessions = set(servers.LIVE)
    if embedded._private is not None and embedded._private.running():
        sessions.add(os.getsid(embedded._private.pid))
    return sessions


def leaked_processes(before: Iterable[int], *, timeout: float = 3.0) -> dict[int, str]:
    """What a test started and left, after a moment to end; it is killed then."""
    until = time.monotonic() + timeout
    while True:
        found = {pid: name for pid, name in children().items() if pid not in set(before)}
        for pid in list(found):
            try:
                if os.getsid(pid) in _sanctioned():
                    del found[pid]
            except ProcessLookupError:
                del found[pid]
        if not found or time.monotonic() > until:
            break
        time.sleep(0.02)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return found
