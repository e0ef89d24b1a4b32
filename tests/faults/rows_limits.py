"""Rows 23, 25, 34–36, 45, 48, 50 and 51: disks, clocks, slots, releases and sheer numbers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyclient.codec import encode
from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.embedded_process import server_binary
from pyclient.keys import Keys, new_task_id
from pyclient.model import Profile
from tests.servers import DEFAULTS, Server, home, until, valkey
from tests.topologies import Slotted, cluster

from .rows import CannotRunHere, Row, Trial
from .rows_topology import owner
from .stand import QUEUE
from .waiting import staff, until_done

_THOUSANDS = 100
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def disk_full(trial: Trial) -> None:
    """The disk of the append-only file fills up: writes are refused (MISCONF), then room again."""
    with _small_disk() as disk, _server_on(disk) as server, trial.stand(server) as stand:
        staff(stand, 2)
        stand.load(rate=40, deadline_s=60)
        client = server.client()
        for _ in range(trial.repeat):
            until_done(stand)
            ballast = disk / "ballast"
            with stand.broken("away"):
                _fill(ballast)
                until(lambda: _refuses(server), timeout=30, what="MISCONF")
                before = client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
                time.sleep(5)
                after = client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
                ballast.unlink()
                freed = time.monotonic()
                until(lambda: not _refuses(server), timeout=30, what="writes again")
            until_done(stand)
            trial.note(
                f"{(after - before) / 5:.0f} calls/s while full, "
                f"served {time.monotonic() - freed:.1f} s after there was room"
            )
        trial.judge(stand, doubles_by=())


def loading(trial: Trial) -> None:
    """Redis restarts and reads its file for some ten seconds (LOADING)."""
    slow = {"appendonly": "yes", "key-load-delay": 500, "aof-use-rdb-preamble": "yes"}
    with valkey(**slow, **{"loading-process-events-interval-bytes": 1024}) as server:  # type: ignore[arg-type]
        server.client().execute_command("DEBUG", "POPULATE", "10000", "ballast", "10")
        server.client().execute_command("BGREWRITEAOF")
        until(
            lambda: not server.client().info("persistence")["aof_rewrite_in_progress"], timeout=30
        )
        with trial.stand(server) as stand:
            staff(stand, 2)
            stand.load(rate=30, deadline_s=60)
            for _ in range(trial.repeat):
                until_done(stand)
                with stand.broken("away"):
                    began = time.monotonic()
                    server.kill()
                    server.start()
                    ready = time.monotonic()
                until_done(stand)
                trial.note(
                    f"away for {ready - began:.1f} s, served {time.monotonic() - ready:.1f} s later"
                )
            server.client().delete(*server.client().scan_iter("ballast:*", count=5000))
            trial.judge(stand, doubles_by=())


def wall_clocks(trial: Trial) -> None:
    """Workers whose wall clock is an hour off, either way: nobody reads it."""
    with valkey() as server, trial.stand(server) as stand:
        for offset in ("-3600", "3600", "0"):
            stand.worker(FAULTS_CLOCK=offset)
        stand.load(rate=50, ms=(5, 1500), deadline_s=60)
        for _ in range(trial.repeat):
            until_done(stand)
            time.sleep(1)
        trial.judge(stand, doubles_by=())


def server_clock(hours: int) -> Callable[[Trial], None]:
    """A row in which the wall clock of Redis jumps: leases that end at once may run again."""

    def run(trial: Trial) -> None:
        with _movable_clock() as (server, set_hours), trial.stand(server) as stand:
            staff(stand, 3)
            stand.load(rate=40, ms=(5, 1500), deadline_s=60)
            now = 0
            for _ in range(trial.repeat):
                until_done(stand)
                now += hours
                with stand.broken("clock"):
                    set_hours(now)
                    until_done(stand)
                    time.sleep(2 * stand.lease_s)
            rules = {"doubles_by": ("clock",), "lost_by": ("clock",), "order": False}
            trial.judge(stand, words=("expired",), **rules)

    return run


def migration(trial: Trial) -> None:
    """The queue's slot moves from node to node under load, atomically (Valkey 9)."""
    with cluster(3) as servers:

        def look() -> Any:
            return owner(servers).client()

        with trial.stand_at(servers.url, look) as stand:
            staff(stand, 2)
            stand.load(rate=80, ms=(5, 100), deadline_s=60)
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
    """Hundreds of waiters and sixteen workers after an outage of ten seconds: no second one."""
    aof = {"appendonly": "yes", "appendfsync": "everysec"}
    with valkey(**aof) as server, trial.stand(server) as stand:  # type: ignore[arg-type]
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
    """A hundred thousand waiting tasks each time: every script stays within 5 ms."""
    with valkey(**{"slowlog-log-slower-than": 5000}) as server, trial.stand(server) as stand:  # type: ignore[arg-type]
        stand.configure(capacity=0)
        for _ in range(trial.repeat):
            asyncio.run(_admit(stand.url, _THOUSANDS))
        waiting = stand.gauge()["waiting"]
        server.client().slowlog_reset()
        begun = time.monotonic()
        taken, slowest = asyncio.run(_claim_some(stand.url, 200))
        each = (time.monotonic() - begun) / 200 * 1000
        slow = [one["duration"] for one in server.client().slowlog_get(128)]
        trial.note(
            f"{waiting} waiting, {taken} claimed in batches of 64: {each:.1f} ms a call, slowest "
            f"{slowest:.1f} ms, {len(slow)} above 5 ms in Redis (most {max(slow, default=0)} µs)"
        )
        trial.expect(that=waiting == trial.repeat * _THOUSANDS * 1000, what=f"{waiting} waiting")
        trial.expect(that=len(slow) <= 2, what=f"calls above 5 ms: {slow}")
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


async def _claim_some(url: str, calls: int) -> tuple[int, float]:
    conn = Connection(url)
    await conn.open()
    commands = Commands(conn, scripts(), Keys("peak", QUEUE))
    taken, slowest = 0, 0.0
    for _ in range(calls):
        begun = time.monotonic()
        taken += len((await commands.claim("taker", 0, 64, 9)).tasks)
        slowest = max(slowest, (time.monotonic() - begun) * 1000)
    await conn.aclose()
    return taken, slowest


@contextlib.contextmanager
def _small_disk() -> Iterator[Path]:
    """A file system of 24 MB in memory."""
    if os.geteuid() != 0:
        raise CannotRunHere(f"needs root to mount a small disk; this is uid {os.geteuid()}")
    with home() as path:
        command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CannotRunHere(f"mount: {done.stderr.strip()}")
        try:
            yield path
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def _server_on(disk: Path) -> Iterator[Server]:
    settings = {**DEFAULTS, "appendonly": "yes", "appendfsync": "everysec"}
    server = Server(server_binary(), disk, settings)
    try:
        server.ready()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _movable_clock() -> Iterator[tuple[Server, Callable[[int], None]]]:
    """A Valkey whose wall clock (not the monotonic one) a file moves."""
    if not Path(_FAKETIME).exists():
        raise CannotRunHere(f"needs libfaketime (Debian: apt install faketime): no {_FAKETIME}")
    with home() as path:
        file = path / "clock"
        file.write_text("+0\n")
        settings = {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**settings, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}.items():
                patch.setenv(name, value)
            patch.setenv("LD_PRELOAD", _FAKETIME)
            server = Server(server_binary(), path, dict(DEFAULTS))
        try:
            server.ready()
            yield server, lambda hours: _put(file, f"{hours * 3600:+d}\n")
        finally:
            server.stop()


def _rewriting(server: Server) -> bool:
    return bool(server.client().info("persistence")["aof_rewrite_in_progress"])


def _put(file: Path, text: str) -> None:
    """In one step: the server may read at any moment."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)


def _fill(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def _refuses(server: Server) -> bool:
    """Whether a write fails now."""
    try:
        server.client().set("probe", "x", px=1000)
    except Exception as error:
        return "MISCONF" in str(error)
    return False


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
    Row(23, "disk of the AOF full for 5 s", "S", (0, 5, 20), disk_full),
    Row(25, "Redis loads its file for seconds", "S", (0, 5, 20), loading),
    Row(34, "workers' wall clocks an hour off", "S", (0, 5, 20), wall_clocks),
    Row(35, "server clock +2 h", "S", (0, 5, 20), server_clock(2)),
    Row(36, "server clock -1 h", "S", (0, 5, 20), server_clock(-1)),
    Row(45, "slot of the queue migrates (Valkey 9)", "C", (0, 5, 50), migration),
    Row(48, "retry storm after 10 s of outage", "S", (0, 5, 20), retry_storm),
    Row(50, "two releases of the scripts at once", "S", (0, 6, 20), two_releases),
    Row(51, "100,000 waiting tasks each", "S", (0, 5, 10), many),
)
