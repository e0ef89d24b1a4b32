"""The random nemesis: one fault after the other, none of them known to the load beforehand."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from tests.servers import Server

from .stand import Stand
from .waiting import until_done

_WORKERS = 4
_AWAY_S, _FROZEN_S = 2.0, 3.0  # the longest


class Nemesis:
    """Picks faults by its seed; `done` counts them."""

    def __init__(self, stand: Stand, server: Server, seed: int) -> None:
        self._stand = stand
        self._server = server
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._faults: tuple[Callable[[], None], ...] = (
            self.kill_worker,
            self.kill_several,
            self.stop_worker,
            self.end_worker,
            self.kill_redis,
            self.freeze_redis,
            self.pause_writes,
            self.kill_clients,
            self.flush_scripts,
            self.nothing,
        )

    def strike(self) -> None:
        """One fault, then until everybody is served again."""
        fault = self._random.choice(self._faults)
        fault()
        self.done[fault.__name__] += 1
        until_done(self._stand, 90)

    def stretch(self, times: int) -> None:
        """The longest outages of all, so that whoever waits has had its largest crowd: memory that
        an allocator keeps from then on is no growth later."""
        for _ in range(times):
            for outage, longest in ((self._kill, _AWAY_S), (self._freeze, _FROZEN_S)):
                outage(longest)
                until_done(self._stand, 90)

    def staff(self) -> None:
        """As many workers as there should be."""
        while len(self._stand.workers) < _WORKERS:
            self._stand.worker(concurrency=4, **self._stand.product())

    # -- faults -----------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """kill -9 of one."""
        self._stand.kill(self._random.choice(self._stand.workers))
        self.staff()

    def kill_several(self) -> None:
        """kill -9 of three."""
        for victim in self._random.sample(self._stand.workers, 3):
            self._stand.kill(victim)
        self.staff()

    def stop_worker(self) -> None:
        """SIGSTOP for up to three leases."""
        with self._stand.stopped(self._random.choice(self._stand.workers)):
            time.sleep(self._random.uniform(0, 3 * self._stand.lease_s))

    def end_worker(self) -> None:
        """SIGTERM."""
        leaving = self._random.choice(self._stand.workers)
        leaving.send(signal.SIGTERM)
        code = leaving.wait(20)  # -15: it had not even begun
        assert code in (0, -signal.SIGTERM), leaving.output()[-1000:]
        self._stand.drop(leaving)
        self.staff()

    def kill_redis(self) -> None:
        """kill -9, and a start after up to two seconds."""
        self._kill(self._random.uniform(0, _AWAY_S))

    def freeze_redis(self) -> None:
        """SIGSTOP for up to three seconds."""
        self._freeze(self._random.uniform(0, _FROZEN_S))

    def pause_writes(self) -> None:
        """CLIENT PAUSE WRITE for up to two seconds."""
        with self._stand.broken("away"):
            ms = self._random.randrange(100, 2000)
            self._server.client().execute_command("CLIENT PAUSE", ms, "WRITE")
            time.sleep(ms / 1000)

    def kill_clients(self) -> None:
        """Every connection is cut."""
        self._server.client().execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")

    def flush_scripts(self) -> None:
        """The script cache is emptied."""
        self._server.client().script_flush()

    def nothing(self) -> None:
        """A breath."""
        time.sleep(self._random.uniform(0, 3))

    def _kill(self, seconds: float) -> None:
        with self._stand.broken("away"):
            self._server.kill()
            time.sleep(seconds)
            self._server.start()

    def _freeze(self, seconds: float) -> None:
        with self._stand.broken("away"), self._server.paused():
            time.sleep(seconds)
