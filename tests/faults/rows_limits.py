"""Rows 45, 48, 50 and 51: slots that move, storms, two releases, and sheer numbers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pyclient.codec import encode
from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.keys import Keys, new_task_id
from pyclient.model import Profile
from tests.servers import Server, until, valkey
from tests.topologies import Slotted, cluster

from .rows import CannotRunHere, Row, Trial
from .rows_topology import owner
from .stand import QUEUE
from .waiting import staff, until_done

_THOUSANDS = 100
_CLAIMS = 200
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def migration(trial: Trial) -> None:
    """The queue's slot moves from node to node under load, atomically (Valkey 9)."""
    with cluster(3) as servers:

        def look() -> Any:
            return owner(servers).client()

        with trial.stand_at(servers.url, look) as stand:
            staff(stand, 2)
            stand.load(rate=40, ms=(5, 100), deadline_s=120)
            gaps = []
            for _ in range(trial.repeat):
                until_done(stand)
                since = time.monotonic_ns()
                _migrate(servers)
                until_done(stand)
                gaps.append(stand.gap(since))
            trial.note(f"gaps {min(gaps):.2f}–{max(gaps):.2f} s")
            trial.judge(stand, doubles_by=())


def retry_storm(trial: Trial) -> None:
    """Hundreds of waiters and sixteen workers after an outage of ten seconds: no second one.
    The lease outlasts the outage, so that what runs is not run again."""
    aof = {"appendonly": "yes", "appendfsync": "everysec"}
    with valkey(**aof) as server, trial.stand(server, lease_s=15.0) as stand:  # type: ignore[arg-type]
        staff(stand, 16, concurrency=4)
        stand.load(rate=60, ms=(200, 800), deadline_s=90)
        for _ in range(trial.repeat):
            until_done(stand)
            with stand.broken("away"):
                server.kill()
                time.sleep(10)
                server.start()
            before = server.client().info("stats")["total_connections_received"]
            time.sleep(2)
            after = server.client().info("stats")["total_connections_received"]
            each = (after - before) / 17
            trial.note(f"{each:.1f} connections a process in the first 2 s")
            trial.expect(that=each <= 10, what=f"{each:.1f} connections a process in 2 s")
            until_done(stand)
        trial.judge(stand, doubles_by=())


def two_releases(trial: Trial) -> None:
    """Workers of two releases (scripts of other SHAs) serve one queue, and are replaced."""
    with valkey() as server, trial.stand(server) as stand:
        staff(stand, 2, FAULTS_EDITION="next")
        staff(stand, 2)
        stand.load(rate=60, deadline_s=60)
        for index in range(trial.repeat):
            until_done(stand)
            stand.kill(stand.workers[0])
            stand.worker(FAULTS_EDITION="next" if index % 2 else "")
        names = {script.sha for script in scripts().values()}
        loaded = server.client().info("memory")["number_of_cached_scripts"]
        trial.note(f"{loaded} scripts loaded, a release has {len(names)}")
        trial.expect(that=loaded > len(names) // 2 + 2, what="both releases used the same scripts")
        trial.judge(stand)


def many(trial: Trial) -> None:
    """A hundred thousand waiting tasks more each time: a claim of 64 costs Redis as little CPU
    as before. CPU and not time, since a busy machine takes time away."""
    with valkey() as server, trial.stand(server) as stand:
        stand.configure(capacity=0)
        costs = []
        for _ in range(trial.repeat):
            asyncio.run(_admit(stand.url, _THOUSANDS))
            waiting = stand.gauge()["waiting"]
            before = _cpu_s(server)
            taken = asyncio.run(_claim_some(stand.url, _CLAIMS))
            costs.append((_cpu_s(server) - before) / _CLAIMS * 1000)
            trial.note(
                f"{waiting} waiting: {costs[-1]:.2f} ms of CPU a claim of {taken // _CLAIMS}"
            )
        trial.expect(that=max(costs) <= 3.0, what=f"a claim cost {max(costs):.1f} ms of CPU")
        trial.expect(that=costs[-1] <= 2 * costs[0], what=f"it grows with the queue: {costs}")
        server.client().flushall()
        stand.configure(lease=stand.lease_s)
        trial.judge(stand)


async def _admit(url: str, thousands: int) -> None:
    conn = Connection(url)
    await conn.open()
    commands = Commands(conn, scripts(), Keys("peak", QUEUE))
    profile = Profile(3, "work", "", 2_000_000_000, 60_000, 0, 3, 3600)
    body = encode({"n": "x", "ms": 1})
    for _ in range(thousands * 1000 // 50):
        tasks = [(1, new_task_id(), body) for _ in range(50)]
        await commands.admit("loader", 0, "pull", b"0", [], [profile], tasks)
    await conn.aclose()


async def _claim_some(url: str, calls: int) -> int:
    conn = Connection(url)
    await conn.open()
    commands = Commands(conn, scripts(), Keys("peak", QUEUE))
    taken = 0
    for _ in range(calls):
        taken += len((await commands.claim("taker", 0, 64, 9)).tasks)
    await conn.aclose()
    return taken


def _cpu_s(server: Server) -> float:
    facts = server.client().info("cpu")
    return float(facts["used_cpu_user_main_thread"] + facts["used_cpu_sys_main_thread"])


def _migrate(servers: Slotted) -> None:
    """Move the slot to the next node."""
    old = owner(servers)
    new = servers.nodes[(servers.nodes.index(old) + 1) % len(servers.nodes)]
    slot = old.client().execute_command("CLUSTER KEYSLOT", f"peak:{{{QUEUE}}}:clock")
    target = new.client().execute_command("CLUSTER MYID")
    try:
        old.client().execute_command(
            "CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target
        )
    except Exception as error:
        raise CannotRunHere(f"CLUSTER MIGRATESLOTS wants Valkey >= 9: {error}") from None
    until(lambda: owner(servers) is new, timeout=30, what="the slot on its new node")


ROWS = (
    Row(45, "slot of the queue migrates (Valkey 9)", "C", (0, 5, 50), migration),
    Row(48, "retry storm after 10 s of outage", "S", (0, 5, 20), retry_storm),
    Row(50, "two releases of the scripts at once", "S", (0, 6, 20), two_releases),
    Row(51, "100,000 waiting tasks each", "S", (0, 5, 10), many),
)
