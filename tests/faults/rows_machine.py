"""Rows 23, 25, 34–36: full disks, slow starts, clocks that lie."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyclient.embedded_process import server_binary
from tests.servers import DEFAULTS, Server, home, until, valkey

from .rows import CannotRunHere, Row, Trial
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
        with trial.stand(server, lease_s=15.0) as stand:  # longer than the absence
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
            by = ("clock",)
            trial.judge(stand, words=("expired",), doubles_by=by, lost_by=by, order=False)

    return run


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


ROWS = (
    Row(23, "disk of the AOF full for 5 s", "S", (0, 5, 20), disk_full),
    Row(25, "Redis loads its file for seconds", "S", (0, 5, 20), loading),
    Row(34, "workers' wall clocks an hour off", "S", (0, 5, 20), wall_clocks),
    Row(35, "server clock +2 h", "S", (0, 5, 20), server_clock(2)),
    Row(36, "server clock -1 h", "S", (0, 5, 20), server_clock(-1)),
)
