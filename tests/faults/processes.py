"""The processes of a run: started for real, signalled for real, and none outlives the conductor.

Each is a `python -m` of the product or of this package, with its output in a file of the run's
folder. Children of ours watch a pipe that only the conductor holds and end when it closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .history import FOLDER, ROLE, name_of

ROOT = Path(__file__).resolve().parents[2]
LIFELINE = "FAULTS_LIFELINE"
_OURS = ("PEAK_", "FAST_PRIORITY_", "FAULTS_")


class Process:
    """One process, however it was started. `name` is that of its history."""

    def __init__(self, role: str, pid: int, out: Path) -> None:
        self.role = role
        self.pid = pid
        self.name = name_of(role, pid)
        self._out = out

    def poll(self) -> int | None:
        """Its exit code, None while it lives."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.poll() is None

    def output(self) -> str:
        """All that it wrote."""
        return self._out.read_text("utf-8", "replace")

    def says(self, text: str) -> bool:
        """Whether it wrote this already."""
        return text in self.output()

    def send(self, number: signal.Signals) -> None:
        """A signal; to one that has ended, none."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def children(self) -> list[int]:
        """Processes that it started and that live."""
        found = Path(f"/proc/{self.pid}/task").glob("*/children")
        with contextlib.suppress(OSError):
            return sorted(int(pid) for path in found for pid in path.read_text().split())
        return []

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait(10)

    def kill_all(self) -> list[int]:
        """kill -9 of it and of its children at one time; the pids."""
        pids = [self.pid, *self.children()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait(10)
        return pids

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit code. Raises AssertionError with its last words where it goes on."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                last = self.output()[-2000:]
                raise AssertionError(f"{self.name} goes on after {timeout:g} s: …{last}")
            time.sleep(0.003)
        return code

    def close(self) -> None:
        """End it, whatever it does; what it started ends by the pipe."""
        left = self.children()
        if self.running:
            self.send(signal.SIGKILL)
            self.wait(10)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def files(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Resident bytes of its own (RssAnon: what is shared with others is not its doing)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon in /proc: expected Linux >= 4.5")


class Child(Process):
    """A `python -m` of ours or of the product. `{lifeline}` in `words` is the pipe's number."""

    def __init__(
        self, role: str, words: Sequence[str], folder: Path, env: dict[str, str], **pipes: int
    ) -> None:
        lifeline, self._hold = os.pipe()
        out = folder / f"{role}-{time.monotonic_ns()}.log"
        with out.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *(word.format(lifeline=lifeline) for word in words)],
                cwd=folder,
                env={**environment(role, folder), LIFELINE: str(lifeline), **env},
                stdin=pipes.get("stdin", subprocess.DEVNULL),
                stdout=pipes.get("stdout", log),
                stderr=log,
                pass_fds=(lifeline,),
            )
        os.close(lifeline)
        super().__init__(role, self.popen.pid, out)

    def poll(self) -> int | None:
        return self.popen.poll()

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            os.close(self._hold)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()


class Nursery(Child):
    """Forks workers on demand: see nursery.py."""

    def __init__(self, folder: Path) -> None:
        pipe = subprocess.PIPE
        words = ["tests.faults.nursery"]
        super().__init__("nursery", words, folder, {}, stdin=pipe, stdout=pipe)
        self._folder = folder
        self._pending = b""
        self._fresh: list[int] = []
        self.codes: dict[int, int] = {}

    def fork(self, words: Sequence[str], env: dict[str, str]) -> Forked:
        """A worker process."""
        assert self.popen.stdin is not None
        out = self._folder / f"worker-{time.monotonic_ns()}.log"
        asked = {"words": list(words), "env": env, "log": str(out)}
        self.popen.stdin.write(json.dumps(asked).encode() + b"\n")
        self.popen.stdin.flush()
        end = time.monotonic() + 180
        while not self._fresh:
            assert time.monotonic() < end, f"the nursery forks nothing: {self.output()}"
            self.listen(0.1)
        return Forked(self, self._fresh.pop(0), out)

    def listen(self, timeout: float = 0.0) -> None:
        """Take in what it says."""
        assert self.popen.stdout is not None
        while select.select([self.popen.stdout], [], [], timeout)[0]:
            data = os.read(self.popen.stdout.fileno(), 65536)
            if not data:
                raise AssertionError(f"the nursery ended: {self.output()}")
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                pid, code = json.loads(line)
                if code is None:
                    self._fresh.append(pid)
                else:
                    self.codes[pid] = code
            timeout = 0.0


class Forked(Process):
    """A worker of the nursery."""

    def __init__(self, nursery: Nursery, pid: int, out: Path) -> None:
        super().__init__("worker", pid, out)
        self._nursery = nursery

    def poll(self) -> int | None:
        if self.pid not in self._nursery.codes:
            self._nursery.listen()
        return self._nursery.codes.get(self.pid)


def environment(role: str, folder: Path) -> dict[str, str]:
    """What every process of a run is told; settings of the product come from nowhere else."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    path = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return {**kept, **path, FOLDER: str(folder), ROLE: role}


def port_of(gateway: Process) -> int:
    """Where a gateway listens, from its log."""
    at = gateway.output().partition('"url":')[2]
    return int(at.partition("://")[2].partition('"')[0].rpartition(":")[2].rstrip("/"))


def no_sockets(folder: str, names: list[str]) -> list[str]:
    """What `copytree` has to leave out."""
    return [name for name in names if Path(folder, name).is_socket()]


def until(condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
    """Poll until it holds. Raises AssertionError."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


def end_with_conductor() -> None:
    """For processes of this package: end when the conductor is gone, also by kill -9."""
    import threading

    lifeline = int(os.environ[LIFELINE])

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()
