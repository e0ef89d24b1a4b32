"""Commands that run for a while, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cli.support import environment
from tests.servers import PATIENCE_S, until


class Running:
    """A command in a session of its own; `family` are its descendants, wherever they went."""

    def __init__(self, command: list[str], cwd: Path, **env: str) -> None:
        self._mark = f"<{secrets.token_hex(8)}>"
        self._out = cwd / "stdout"
        self._err = cwd / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment(TESTED_COMMAND=self._mark, **env),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    def wait_for(self, text: str, *, timeout: float = PATIENCE_S) -> str:
        """Wait until it has printed this; all of stdout."""

        def said() -> bool:
            assert self.process.poll() is None or text in self.stdout, self.words()
            return text in self.stdout

        until(said, timeout=timeout, what=f"{text!r} in {self.words()}")
        return self.stdout

    def words(self) -> str:
        return f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        return self.process.wait(timeout)

    def family(self) -> dict[int, str]:
        """Living processes that bear our mark, save itself."""
        wanted = f"TESTED_COMMAND={self._mark}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and wanted in (folder / "environ").read_bytes():
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = command.decode(errors="replace")
        found.pop(self.process.pid, None)
        return found

    def none_left(self, *, timeout: float = PATIENCE_S) -> None:
        """Wait until no descendant lives."""
        until(lambda: not self.family(), timeout=timeout, what=f"no process left: {self.family()}")

    def end(self) -> None:
        """Whatever is left, for the next test's sake."""
        for pid in [*self.family(), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def started(cwd: Path, *words: str, **env: str) -> Iterator[Running]:
    """`peakshaver WORDS`."""
    running = Running([sys.executable, "-m", "pyclient.cli", *words], cwd, **env)
    try:
        yield running
    finally:
        running.end()


def polled(value: Callable[[], int], expected: int, *, timeout: float = PATIENCE_S) -> None:
    """Wait for a number."""
    until(lambda: value() == expected, timeout=timeout, what=f"{expected}, not {value()}")


def elapsed(began: float) -> float:
    return time.monotonic() - began
