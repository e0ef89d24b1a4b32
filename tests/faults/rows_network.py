"""Rows 27–33 and 54: what happens between a process and Redis, by a proxy of our own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from pyclient.scripts import load_scripts
from tests.servers import valkey

from .processes import until
from .proxy import Action, Proxy
from .rows import Row, Trial
from .stand import Stand
from .waiting import staff, until_busy, until_done

_VERBS = ("admit", "claim", "publish", "renew", "attach", "cancel", "sweep", "fetch")


def short_partition(trial: Trial) -> None:
    """Workers can't reach Redis for half a lease: nothing runs again. They renew each third of a
    lease, so a sixth is left to reach it again: of a lease of four, 0.7 s."""
    with valkey() as server, Proxy(server.url) as proxy, trial.stand(server, lease_s=4.0) as stand:
        staff(stand, 3, FAULTS_URL=proxy.url)
        stand.load(rate=60, ms=(5, 1500), deadline_s=60)
        for index in range(trial.repeat):
            until_busy(stand)
            with proxy.silent() if index % 2 else proxy.refused():
                time.sleep(stand.lease_s / 2)
            until_done(stand)
        trial.judge(stand, doubles_by=())


def long_partition(trial: Trial) -> None:
    """Workers can't reach Redis for three leases, and nothing tells them so."""
    with valkey() as server, Proxy(server.url) as proxy, trial.stand(server) as stand:
        staff(stand, 2)
        cut_off = [stand.worker(FAULTS_URL=proxy.url) for _ in range(2)]
        stand.load(rate=40, ms=(50, 2500), deadline_s=60)
        for _ in range(trial.repeat):
            until_busy(stand)
            with stand.broken("partition", *(one.name for one in cut_off)), proxy.silent():
                time.sleep(3 * stand.lease_s)
            until_done(stand)
            time.sleep(1)
        trial.judge(stand, doubles_by=("partition",), sometimes=("leased again", "stale publish"))


def half_open(trial: Trial) -> None:
    """Every connection of the callers stays open and carries nothing more. That is noticed after
    five seconds: hence a lease of eight, since with a shorter one the callers count as gone."""
    with _behind(trial, lease_s=8.0) as (proxy, stand):
        staff(stand, 3, FAULTS_URL=stand.url)
        stand.load(rate=40, deadline_s=60)
        for _ in range(trial.repeat):
            until_done(stand)
            began = time.monotonic()
            proxy.half_open_all()
            until_done(stand)
            trial.note(f"served again after {time.monotonic() - began:.1f} s")
        trial.judge(stand, doubles_by=())


def bad_line(trial: Trial) -> None:
    """50 ± 40 ms each way back and 1 % resets, so that connections overtake each other."""
    with _behind(trial) as (proxy, stand):
        proxy.delay = lambda rand: rand.uniform(0.01, 0.09)
        proxy.resets = 0.01
        staff(stand, 3)
        stand.load(rate=30, deadline_s=60)
        time.sleep(5 * trial.repeat)
        proxy.resets = 0.0
        trial.note(f"{proxy.accepted} connections")
        trial.judge(stand, doubles_by=())


def lost_replies(trial: Trial) -> None:
    """Each script's call is cut off before Redis sees it, and after Redis has done it. Of `attach`
    and `renew` two each: after more of them in a row a lease is over."""
    shas = {name: script.sha.encode() for name, script in load_scripts().items()}
    with _behind(trial) as (proxy, stand):
        staff(stand, 3)
        mix = {"call": 4, "submit": 4, "keyed": 2, "cancel": 2}
        stand.load(rate=40, ms=(5, 1200), deadline_s=60, mix=mix)
        actions: tuple[Action, ...] = ("cut-before", "cut-after")
        for verb in _VERBS:
            times = min(trial.repeat, 2) if verb in ("attach", "renew") else trial.repeat
            rules = [proxy.when(shas[verb], action, times=times) for action in actions]
            if verb not in ("fetch", "sweep"):  # those come by when they come by
                until(lambda: all(r.fired >= r.times for r in rules), verb, 90)  # noqa: B023
            else:
                time.sleep(1)
            proxy.calm()
            fired = sum(rule.fired for rule in rules)
            stand.saw(f"{verb} cut", fired)
        until_done(stand)
        trial.judge(stand, doubles_by=(), sometimes=tuple(f"{verb} cut" for verb in _VERBS[:6]))


def late_replies(trial: Trial) -> None:
    """Replies that come after the call was given up, and replies that never come."""
    shas = {name: script.sha.encode() for name, script in load_scripts().items()}
    with _behind(trial) as (proxy, stand):
        staff(stand, 3)
        stand.load(rate=40, deadline_s=60)
        for index in range(trial.repeat):
            for verb in ("admit", "publish"):
                if index % 2:
                    rule = proxy.when(shas[verb], "drop-reply")
                else:
                    rule = proxy.when(shas[verb], "late-reply", late_s=7.0)
                until(lambda: rule.fired, verb, 60)  # noqa: B023
            until_done(stand)
        trial.judge(stand, doubles_by=())


def narrow_line(trial: Trial) -> None:
    """1 Mbit/s for everybody, with 2 KB a task: memory stays flat, what is too much is refused."""
    with _behind(trial) as (proxy, stand):
        staff(stand, 2)
        load = stand.load(rate=60, pad=2000, ms=(1, 20), deadline_s=20)
        until_done(stand)
        proxy.bandwidth = 125_000.0
        time.sleep(5)
        before = load.memory()
        time.sleep(3 * trial.repeat)
        grown = (load.memory() - before) / 2**20
        proxy.bandwidth = 0.0
        trial.note(f"the client grew by {grown:.1f} MiB")
        trial.expect(that=grown < 32, what=f"the client grew by {grown:.1f} MiB")
        trial.judge(stand, doubles_by=(), words=("expired",))


def cancelled_calls(trial: Trial) -> None:
    """Callers that leave at any moment, on a line that is late: nobody gets another's answer."""
    with _behind(trial) as (proxy, stand):
        proxy.delay = lambda rand: rand.uniform(0.0, 0.004)
        staff(stand, 2, concurrency=64)
        mix = {"cancel": 3, "call": 1}
        load = stand.load(
            rate=2500,
            route="echo",
            mix=mix,
            ms=(1, 30),
            most=trial.repeat,
            deadline_s=30,
            at_once=512,
        )
        load.wait(1800)
        report = trial.judge(stand, order=False, doubles_by=(), sometimes=("delivered",))
        ends = ", ".join(f"{count} {word}" for word, count in sorted(report.said.items()))
        trial.note(ends)
        gone = report.said.get("cancelled", 0)
        trial.expect(that=gone > trial.repeat // 10, what=f"only {gone} were cancelled in time")


@contextlib.contextmanager
def _behind(trial: Trial, **options: Any) -> Iterator[tuple[Proxy, Stand]]:
    """A stand whose processes all reach Redis through a proxy."""
    with (
        valkey() as server,
        Proxy(server.url, seed=trial.seed) as proxy,
        trial.stand(server, via=proxy.url, **options) as stand,
    ):
        yield proxy, stand


ROWS = (
    Row(27, "workers cut off for half a lease", "S", (0, 10, 50), short_partition),
    Row(28, "workers cut off for 3 leases, silently", "S", (0, 5, 20), long_partition),
    Row(29, "half-open connections", "S", (0, 5, 20), half_open),
    Row(30, "50±40 ms, 1 % resets (5 s each)", "S", (0, 5, 20), bad_line),
    Row(31, "calls cut before and after, 8 verbs", "S", (0, 5, 50), lost_replies),
    Row(32, "replies too late or never", "S", (0, 6, 50), late_replies),
    Row(33, "1 Mbit/s", "S", (0, 5, 20), narrow_line),
    Row(54, "cancelled calls, a late line", "S", (4000, 100_000, 100_000), cancelled_calls),
)
