"""A queue for doctor to look at, and what doctor says of it."""

from __future__ import annotations

import json
from typing import Any

from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.keys import Keys, new_task_id
from pyclient.model import Profile
from tests.cli.support import Done, run
from tests.servers import Server

P = "peak:{orders}:"
WAITING, DUE, RUNNING, CAPPED, PARKED = (f"{n}" * 22 for n in "wdrcp")


def profile(route: str, level: int = 3) -> Profile:
    return Profile(level, route, "", 600_000, 600_000, 0, 3, 60)


async def fill(url: str) -> None:
    """One task of each kind: running, due, waiting, and parked behind a capped one that runs."""
    conn = Connection(url)
    await conn.open()
    line = Commands(conn, scripts(), Keys("peak", "orders"))
    await line.configure({"mode": "pull", "lease_ms": 600_000, "concurrency capped": 1})
    await line.attach("me")
    profiles = [profile("mail"), profile("capped")]
    ids = [(1, DUE), (1, RUNNING), (2, CAPPED), (1, WAITING), (2, PARKED)]
    await line.admit("me", 1, "pull", b"0", [], profiles, [(n, i, b"hi") for n, i in ids])
    claimed = await line.claim("w", 1, 3, 9)
    fences = {task.id: task.fence for task in claimed.tasks}
    assert fences.keys() == {DUE, RUNNING, CAPPED}
    await line.retry("w", 2, [(DUE, fences[DUE], 500_000, True, "later")])
    await line.place("me", 2, "pull", "take", new_task_id(), "mail", 3)
    await conn.aclose()


def doctor(server: Server, *words: str) -> Done:
    return run("doctor", "--queue", "orders", "--url", server.url, *words)


def findings(done: Done) -> dict[str, list[dict[str, Any]]]:
    """By name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["name"], []).append(one)
    return found
