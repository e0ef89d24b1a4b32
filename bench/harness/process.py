"""Starts a worker or a submitter of a system, talks to it, and ends it with all it has started."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bench import peers

from .machine import session_cpu

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = ROOT / "bench" / "adapters"
# Adapters whose environment has another name, or is the project's own.
ENVIRONMENT = {"bullmq_node": "node", "bare": "", "peakshaver": ""}
NODE = {"bullmq_node": "bullmq_node.js"}


def environment(system: str) -> str:
    """The name of a system's environment; empty for the project's own."""
    name = system.partition(".")[0]
    return ENVIRONMENT.get(name, name)


def available(system: str) -> bool:
    """Whether a system is set up here."""
    name = environment(system)
    return not name or peers.ready(name)


def command_of(role: str, system: str) -> list[str]:
    """How to start it."""
    name = system.partition(".")[0]
    if name in NODE:
        return ["node", str(ADAPTERS / NODE[name]), role]
    own = environment(system)
    python = str(peers.python(own)) if own else sys.executable
    return [python, "-m", "bench.harness.child", role, system]


class Process:
    """A process in a session of its own."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], log: IO[bytes], *, talks: bool = False
    ) -> None:
        self._name = " ".join(command[-2:])
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env},
            start_new_session=True,
        )
        self._buffer = b""

    @property
    def pid(self) -> int:
        """Leader of the session."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def cpu(self) -> float:
        """CPU seconds of the whole session so far."""
        return session_cpu(self.pid)

    def ask(self, patience: float, **command: Any) -> dict[str, Any]:
        """Send one command line, return the answer. Raises TimeoutError, RuntimeError."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(command).encode() + b"\n")
        stdin.flush()
        deadline = time.monotonic() + patience
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self._name}: {command['op']} took over {patience:.0f} s")
            if select.select([stdout], [], [], left)[0]:
                chunk = os.read(stdout.fileno(), 65536)
                if not chunk:
                    raise RuntimeError(f"{self._name}: the submitter ended before it answered")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        figures: dict[str, Any] = json.loads(line)
        return figures

    def stop(self, patience: float = 3.0) -> None:
        """End its whole group: first by asking."""
        for sign, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(self.pid, sign)
            except ProcessLookupError:
                break
            try:
                self._process.wait(wait)
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.pid, signal.SIGKILL)  # what ignored its leader's end
        except ProcessLookupError:
            pass
        self._process.wait(5)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
