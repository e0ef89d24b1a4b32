"""Rows 14–26, 37, 53: what happens to Redis. The product must wait, say so, and lose nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from tests.servers import Server, valkey

from .processes import until
from .rows import Row, Trial
from .stand import Stand
from .waiting import staff, until_done

_WIPED: dict[str, Any] = {
    "order": False,
    "lost_by": ("wiped",),
    "doubles_by": ("wiped",),
    "sometimes": ("loss said aloud",),
}
_AOF: dict[str, Any] = {"appendonly": "yes", "appendfsync": "everysec"}


@contextlib.contextmanager
def _loaded(trial: Trial, *, rate: float = 60, **settings: Any) -> Iterator[tuple[Server, Stand]]:
    """A server, three workers, and a load whose tasks may wait for a minute."""
    with valkey(**settings) as server, trial.stand(server) as stand:
        staff(stand, 3)
        stand.load(rate=rate, deadline_s=60)
        yield server, stand


def kill_with_aof(trial: Trial) -> None:
    """kill -9 of Redis with an append-only file that is synced before each reply. First with a
    lease that an outage may outlast: of a caller that comes back more than a lease after Redis,
    what still waits may be cancelled; what was done is answered. Then with the default."""
    settings: dict[str, Any] = {"appendonly": "yes", "appendfsync": "always"}
    _kills(trial, settings, lease_s=2.0, words=("cancelled",), doubles_by=())
    _kills(trial, settings, lease_s=15.0, doubles_by=())


def kill_everysec(trial: Trial) -> None:
    """The same, synced each second: where a sync is slow, Redis keeps up to two seconds of writes
    in its own memory, and kill -9 takes them along. What is lost so is said aloud and counted."""
    away = ("away",)
    _kills(trial, _AOF, order=False, lost_by=away, doubles_by=away)


def _kills(trial: Trial, settings: dict[str, Any], *, lease_s: float = 15.0, **rules: Any) -> None:
    with valkey(**settings) as server, trial.stand(server, lease_s=lease_s) as stand:
        staff(stand, 3)
        stand.load(rate=80, deadline_s=60)
        since = time.monotonic_ns()
        for _ in range(trial.repeat):
            with stand.broken("away"):
                server.kill()
                time.sleep(stand.random.uniform(0, 0.5))
                server.start()
            until_done(stand)
            time.sleep(2)
        report = trial.judge(stand, gap_since=since, **rules)
        said = [f"{report.said.get(word, 0)} {word}" for word in ("state-lost", "cancelled")]
        trial.note(f"lease {lease_s:g} s: {', '.join(said)}")


def kill_without(trial: Trial) -> None:
    """kill -9 of a Redis that keeps nothing: the loss is said aloud, and nobody hangs."""
    with valkey() as server, trial.stand(server) as stand:
        staff(stand, 3)
        stand.load(rate=80, deadline_s=30)
        for _ in range(trial.repeat):
            with stand.broken("away"), stand.broken("wiped"):
                server.kill()
                server.start()
            stand.configure(lease=stand.lease_s)
            until_done(stand)
        trial.judge(stand, **_WIPED)


def frozen(trial: Trial) -> None:
    """SIGSTOP of Redis for ten seconds, which is five leases."""
    with _loaded(trial, rate=40, **_AOF) as (server, stand):
        for _ in range(trial.repeat):
            with stand.broken("away"), server.paused():
                time.sleep(10)
            until_done(stand)
        trial.judge(stand, doubles_by=())


def debug_sleep(trial: Trial) -> None:
    """Redis sleeps for three seconds inside a command."""
    with _loaded(trial) as (server, stand):
        for _ in range(trial.repeat):
            with stand.broken("away"):
                server.client().execute_command("DEBUG SLEEP", "3")
            until_done(stand)
        trial.judge(stand, doubles_by=())


def pause_writes(trial: Trial) -> None:
    """CLIENT PAUSE 2000 WRITE: late, and nothing else."""
    with _loaded(trial) as (server, stand):
        for _ in range(trial.repeat):
            with stand.broken("away"):
                server.client().execute_command("CLIENT PAUSE", "2000", "WRITE")
                time.sleep(2)
            until_done(stand)
        report = trial.judge(stand, doubles_by=())
        errors = report.said.get("unavailable", 0)
        trial.expect(that=errors == 0, what=f"{errors} requests failed of a pause of 2 s")


def kill_clients(trial: Trial) -> None:
    """CLIENT KILL of every connection each 200 ms, for seconds on end."""
    with _loaded(trial) as (server, stand):
        client = server.client()
        for _ in range(trial.repeat):
            end = time.monotonic() + 5
            while time.monotonic() < end:
                client.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(0.2)
            until_done(stand)
        trial.judge(stand, doubles_by=())


def script_flush(trial: Trial) -> None:
    """SCRIPT FLUSH each 100 ms: nobody may notice."""
    with _loaded(trial) as (server, stand):
        client = server.client()
        flushes, before = 0, client.info("commandstats")
        end = time.monotonic() + trial.repeat
        while time.monotonic() < end:
            client.script_flush()
            flushes += 1
            time.sleep(0.1)
        report = trial.judge(stand, doubles_by=())
        errors = report.said.get("unavailable", 0)
        loads = _calls(client.info("commandstats")) - _calls(before)
        trial.note(f"{flushes} flushes, {loads} loads of scripts")
        trial.expect(that=errors == 0, what=f"{errors} requests failed of flushed scripts")


def flush_all(trial: Trial) -> None:
    """FLUSHALL under load: whoever waits is told within two seconds."""
    with valkey() as server, trial.stand(server) as stand:
        staff(stand, 3)
        stand.load(rate=80, ms=(100, 900), deadline_s=30)
        for _ in range(trial.repeat):
            until_done(stand)
            with stand.broken("wiped"):
                server.client().flushall()
            stand.configure(lease=stand.lease_s)
            until_done(stand)
            time.sleep(1)
        trial.judge(stand, **_WIPED)


def full(trial: Trial) -> None:
    """maxmemory is reached for two leases: submits are refused at once, nobody who waits is
    forgotten, and idle workers drain the queue to 0."""
    for _ in range(trial.repeat):
        with valkey(maxmemory_policy="noeviction") as server, trial.stand(server) as stand:
            mix = {"submit": 1, "call": 1}
            load = stand.load(rate=300, most=500, deadline_s=60, mix=mix, ms=(1, 20))
            until(lambda: stand.gauge()["waiting"] >= 500, "500 waiting tasks", 60)
            server.client().config_set("maxmemory", "1mb")
            refused = stand.load(rate=50, most=50, deadline_s=20)
            time.sleep(2 * stand.lease_s)
            staff(stand, 3)
            began = time.monotonic()
            until(lambda: not load.running and not refused.running, "a drained queue", 90)  # noqa: B023
            trial.note(f"500 drained in {time.monotonic() - began:.1f} s while full")
            over = server.client().info("memory")
            assert over["used_memory"] > over["maxmemory"], "it was not full any more"
            report = trial.judge(stand, order=False, doubles_by=())
            trial.expect(that=report.said.get("done") == 500, what=f"ended as {report.said}")


def busy_script(trial: Trial) -> None:
    """A foreign script keeps Redis busy for eight seconds (BUSY)."""
    script = "local e = redis.call('TIME')[1] + 8 while redis.call('TIME')[1] + 0 < e do end"
    with valkey(busy_reply_threshold=500) as server, trial.stand(server) as stand:
        staff(stand, 3)
        stand.load(rate=40, deadline_s=60)
        for _ in range(trial.repeat):
            with stand.broken("away"):
                server.client(timeout=20).eval(script, 0)
            until_done(stand)
        trial.judge(stand, doubles_by=())


def max_clients(trial: Trial) -> None:
    """No connection is left for us but that of the test: back off, do not storm. A caller may wait
    a second for its next try: hence a lease of four, or that is half of the grace."""
    with valkey() as server, trial.stand(server, lease_s=4.0) as stand:
        staff(stand, 3)
        stand.load(rate=40, deadline_s=60)
        client = server.client()
        for _ in range(trial.repeat):
            before = client.info("stats")["rejected_connections"]
            with stand.broken("away"):
                client.config_set("maxclients", "1")
                client.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(5)
                client.config_set("maxclients", "10000")
            tried = (client.info("stats")["rejected_connections"] - before) / 5 / 4
            trial.note(f"{tried:.0f} connects/s a process")
            trial.expect(that=tried < 20, what=f"{tried:.0f} connects a second and process")
            until_done(stand)
        trial.judge(stand, doubles_by=())


def no_active_expiry(trial: Trial) -> None:
    """DEBUG SET-ACTIVE-EXPIRE 0: nothing may depend on keys vanishing by themselves."""
    with valkey() as server, trial.stand(server) as stand:
        server.client().execute_command("DEBUG SET-ACTIVE-EXPIRE", "0")
        staff(stand, 3)
        stand.load(rate=60, deadline_s=30)
        for _ in range(trial.repeat):
            victim = stand.workers[0]
            time.sleep(1)
            stand.kill(victim)
            stand.worker()
        trial.judge(stand)


def outage(trial: Trial) -> None:
    """Redis is away for two leases while handlers run: nobody's lease ends, none runs twice."""
    with valkey(**_AOF) as server, trial.stand(server) as stand:
        staff(stand, 3)
        stand.load(rate=6, ms=(100, 8000), deadline_s=90)
        for index in range(trial.repeat):
            time.sleep(3)
            with stand.broken("away"):
                _away(server, 2 * stand.lease_s, killed=index % 2 == 0)
            until_done(stand)
        trial.judge(stand, doubles_by=())


def rate_limit(trial: Trial) -> None:
    """A token bucket for everybody, while connections are cut and scripts flushed: no window
    holds more than came."""
    with valkey() as server, trial.stand(server) as stand:
        staff(stand, 2)
        for _ in range(2):
            stand.load(rate=30, ms=(1, 20), bucket=(20.0, 10), deadline_s=60)
        client = server.client()
        for _ in range(trial.repeat):
            time.sleep(2)
            client.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
            client.script_flush()
            until_done(stand)
        trial.judge(stand, doubles_by=(), bucket=(20.0, 10), sometimes=("refused",))


def _away(server: Server, duration_s: float, *, killed: bool) -> None:
    if killed:
        server.kill()
        time.sleep(duration_s)
        server.start()
    else:
        with server.paused():
            time.sleep(duration_s)


def _calls(stats: dict[str, dict[str, int]]) -> int:
    return stats.get("cmdstat_script|load", {}).get("calls", 0)


ROWS = (
    Row(14, "Redis kill -9, AOF synced always", "S", (3, 50, 50), kill_with_aof),
    Row(60, "Redis kill -9, AOF synced each second", "S", (0, 10, 50), kill_everysec),
    Row(15, "Redis kill -9, nothing kept", "S", (0, 5, 5), kill_without),
    Row(16, "Redis frozen for 10 s", "S", (0, 5, 20), frozen),
    Row(17, "DEBUG SLEEP 3", "S", (0, 5, 20), debug_sleep),
    Row(18, "CLIENT PAUSE 2000 WRITE", "S", (0, 5, 20), pause_writes),
    Row(19, "CLIENT KILL each 200 ms, 5 s", "S", (0, 5, 12), kill_clients),
    Row(20, "SCRIPT FLUSH each 100 ms (seconds)", "S", (0, 10, 60), script_flush),
    Row(21, "FLUSHALL", "S", (1, 5, 20), flush_all),
    Row(22, "Redis full (maxmemory)", "S", (1, 5, 20), full),
    Row(24, "foreign script keeps Redis busy 8 s", "S", (0, 5, 20), busy_script),
    Row(26, "maxclients reached", "S", (0, 5, 20), max_clients),
    Row(37, "no active expiry (worker kills)", "S", (0, 5, 20), no_active_expiry),
    Row(58, "rate limit, connections cut each 2 s", "S", (0, 5, 50), rate_limit),
    Row(53, "Redis away for 2 leases", "S", (2, 10, 50), outage),
)
