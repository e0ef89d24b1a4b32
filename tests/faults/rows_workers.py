"""Rows 1–9: what happens to workers and what handlers do to them."""

from __future__ import annotations

import signal
import time

from tests.servers import valkey

from .processes import until
from .recorded import POINTS
from .rows import Row, Trial
from .waiting import staff, until_busy

_TOGETHER = 3


def worker_kill(trial: Trial) -> None:
    """Several of eight workers die at a time, under one load, and are replaced; the queue's limit
    is below what they could run, so that a slot that leaks would show."""
    with valkey() as server, trial.stand(server, limit=24) as stand:
        staff(stand, 8, concurrency=4)
        stand.load(rate=80, deadline_s=60)
        killed = 0
        while killed < trial.repeat:
            until_busy(stand)
            several = min(_TOGETHER, trial.repeat - killed)
            for victim in stand.random.sample(stand.workers[:5], several):
                stand.kill(victim)
                killed += 1
            for _ in range(several):
                stand.worker(concurrency=4)
        trial.note(f"{killed} killed")
        trial.judge(stand, limit=24, sometimes=("leased again",))


def crash_points(trial: Trial) -> None:
    """A worker kills itself at each of six points of its work."""
    for point in POINTS:
        with valkey() as server, trial.stand(server, lease_s=1.0) as stand:
            staff(stand, 2, concurrency=4)
            stand.load(rate=60, deadline_s=60)
            for done in range(0, trial.repeat, 2):
                several = [
                    stand.worker(concurrency=1, crash=f"{point}:{stand.random.randint(1, 3)}")
                    for _ in range(min(2, trial.repeat - done))
                ]
                for one in several:
                    code = one.wait(60)
                    assert code == -signal.SIGKILL, f"{point}: {code}, {one.output()[-500:]}"
                    stand.drop(one)
            # What Redis was told is done: at the last point nothing runs again.
            excused = () if point == "sent" else ("crash",)
            report = trial.judge(stand, doubles_by=excused)
            trial.note(f"{point}: {report.duplicates} again")


def worker_stop(trial: Trial) -> None:
    """Workers freeze for three leases and come back with leases that are long gone."""
    with valkey() as server, trial.stand(server, lease_s=1.0) as stand:
        staff(stand, 5, concurrency=4)
        stand.load(rate=60, deadline_s=60)
        for done in range(0, trial.repeat, 2):
            until_busy(stand)
            one, other = stand.random.sample(stand.workers, 2)
            with stand.stopped(one):
                if trial.repeat - done > 1:
                    with stand.stopped(other):
                        time.sleep(3 * stand.lease_s)
                else:
                    time.sleep(3 * stand.lease_s)
            time.sleep(0.5)
        trial.judge(stand, sometimes=("leased again", "stale publish"))


def all_workers(trial: Trial) -> None:
    """Supervisor and children die in one moment; a new set takes over."""
    with valkey() as server, trial.stand(server) as stand:
        stand.load(rate=60, deadline_s=60)
        for _ in range(trial.repeat):
            boss = stand.supervised(2)
            until(lambda boss=boss: len(boss.children()) == 2, "children")  # type: ignore[misc]
            names = [f"worker-{pid}" for pid in boss.children()]
            until_busy(stand, names)
            with stand.broken("kill", *names):
                boss.kill_all()
            stand.drop(boss)
        stand.supervised(2)
        trial.judge(stand, sometimes=("leased again",))


def worker_term(trial: Trial) -> None:
    """SIGTERM under load: what runs is finished or handed back, never both."""
    with valkey() as server, trial.stand(server) as stand:
        staff(stand, 3, concurrency=4)
        stand.load(rate=80, deadline_s=60)
        slowest = 0.0
        for _ in range(trial.repeat):
            until_busy(stand)
            leaving = stand.workers[0]
            began = time.monotonic()
            leaving.send(signal.SIGTERM)
            stand.worker(concurrency=4)
            assert leaving.wait(15) == 0, leaving.output()[-1000:]
            slowest = max(slowest, time.monotonic() - began)
            stand.drop(leaving)
        trial.note(f"slowest exit {slowest:.1f} s")
        trial.expect(that=slowest <= 11, what=f"an exit took {slowest:.1f} s, 11 s are allowed")
        trial.judge(stand, doubles_by=())


def term_then_kill(trial: Trial) -> None:
    """SIGTERM, and kill -9 a second later while handlers still run."""
    with valkey() as server, trial.stand(server) as stand:
        staff(stand, 3, concurrency=4)
        stand.load(rate=12, ms=(500, 2500), deadline_s=60)
        for _ in range(trial.repeat):
            until_busy(stand)
            leaving = stand.workers[0]
            leaving.send(signal.SIGTERM)
            stand.worker(concurrency=4)
            time.sleep(1)
            stand.kill(leaving)
        trial.judge(stand)


def poison(trial: Trial) -> None:
    """Handlers that raise, exit, run out of memory, or take their process along."""
    for how in ("raise", "sys.exit", "memory", "exit", "segfault"):
        with valkey() as server, trial.stand(server, lease_s=1.0) as stand:
            stand.supervised(3, concurrency=4)
            stand.load(rate=30, deadline_s=60)
            poisoned = stand.load(
                route="poison", how=how, rate=5, most=trial.repeat, deadline_s=60, mix={"call": 1}
            )
            poisoned.wait(90)
            report = trial.judge(stand, words=("lost",))
            dies = how in ("exit", "segfault")
            expected = report.said.get("lost" if dies else "failed", 0)
            text = f"{how}: {trial.repeat} poisoned, ended as {report.said}"
            trial.expect(that=expected >= trial.repeat, what=text)


def stubborn(trial: Trial) -> None:
    """A C call that goes on past its deadline: its process is replaced, its slot is free."""
    with valkey() as server, trial.stand(server, limit=6) as stand:
        stand.supervised(2, concurrency=4)
        stand.load(rate=20, ms=(5, 50), deadline_s=60)
        stand.load(
            route="stubborn", ms=(20_000, 20_000), rate=1, most=trial.repeat, mix={"call": 1}
        )
        time.sleep(trial.repeat + 4)
        running = stand.gauge()["routes"].get("stubborn", {}).get("running", 0)
        trial.expect(that=running == 0, what=f"{running} slots still taken after the deadline")
        trial.judge(stand, order=False, limit=6)


def client_stop(trial: Trial) -> None:
    """A client stands still for three leases and counts as gone. When it is back it is told of
    each task what became of it, at once and not at its deadline; no answer is lost."""
    with valkey() as server, trial.stand(server) as stand:
        staff(stand, 3)
        load = stand.load(rate=80, ms=(5, 200), deadline_s=30)
        for _ in range(trial.repeat):
            until_busy(stand)
            with stand.stopped(load):
                time.sleep(3 * stand.lease_s)
            time.sleep(2)
        trial.judge(stand, words=("cancelled",), doubles_by=())


def cpu_bound(trial: Trial) -> None:
    """Handlers that compute for five leases, in a thread and on the event loop."""
    for route in ("thread", "block"):
        with valkey() as server, trial.stand(server, lease_s=1.0) as stand:
            staff(stand, 2, concurrency=2)
            stand.load(
                route=route,
                ms=(5000, 5000),
                rate=1,
                most=trial.repeat,
                mix={"call": 1},
                deadline_s=120,
            )
            trial.judge(stand, doubles_by=())


ROWS = (
    Row(1, "worker kill -9, several at once", "S", (12, 1000, 1000), worker_kill),
    Row(2, "worker kill -9 at each of 6 points", "S", (0, 10, 100), crash_points),
    Row(3, "worker frozen for 3 leases", "S", (0, 10, 200), worker_stop),
    Row(4, "all workers killed at once", "S", (0, 5, 50), all_workers),
    Row(5, "worker SIGTERM under load", "S", (0, 20, 200), worker_term),
    Row(6, "SIGTERM, kill -9 after 1 s", "S", (0, 10, 100), term_then_kill),
    Row(7, "handlers that end badly (5 ways)", "S", (0, 5, 20), poison),
    Row(8, "handler ignores its deadline", "S", (0, 5, 20), stubborn),
    Row(59, "client frozen for 3 leases", "S", (0, 5, 50), client_stop),
    Row(9, "handler computes for 5 leases", "S", (0, 5, 20), cpu_bound),
)
