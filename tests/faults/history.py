"""Append-only histories: what each process of a run says it did, and when.

One file a process, one line an event, one `write` a line, so that kill -9 tears none and the
order within a file is the order in which things happened. All times are CLOCK_MONOTONIC in
nanoseconds, which the processes of one machine share.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]

LONGEST = 4096
FOLDER = "FAULTS_FOLDER"
ROLE = "FAULTS_ROLE"


class Recorder:
    """Writes the history of this process; `name` is how others speak of it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._fd = os.open(folder / f"{name}.jsonl", flags, 0o600)

    @classmethod
    def of_environment(cls) -> Recorder:
        """The one that the conductor asked for; the name is role and pid."""
        name = name_of(os.environ[ROLE], os.getpid())
        return cls(Path(os.environ[FOLDER]), name)

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Write one event. Raises ValueError where it could not be one write."""
        with self._lock:  # the order within a file is the order of its times
            line = {"t": time.monotonic_ns(), "p": self.name, "e": event, **fields}
            text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
            if len(text) > LONGEST:
                raise ValueError(f"an event of {len(text)} bytes, expected <= {LONGEST}: {event}")
            os.write(self._fd, text)

    def each(self, event: str, field: str, rows: Iterable[Any], **fields: Any) -> None:
        """Many rows of one event, in as many lines as it takes."""
        rows = list(rows)
        for start in range(0, len(rows), 32):
            self(event, **{field: rows[start : start + 32]}, **fields)

    def close(self) -> None:
        """No more events."""
        os.close(self._fd)


def name_of(role: str, pid: int) -> str:
    """How a process is called in histories."""
    return f"{role}-{pid}"


def read(folder: Path) -> list[Event]:
    """All events of a run in order of time."""
    events = [event for file in sorted(folder.glob("*.jsonl")) for event in _events(file)]
    events.sort(key=lambda event: event["t"])
    return events


def _events(file: Path) -> Iterator[Event]:
    """The events of one process, and their order."""
    last = 0
    text = file.read_bytes()
    whole, _, _ = text.rpartition(b"\n")  # what a full disk cut off is not an event
    for number, line in enumerate(whole.splitlines(), 1):
        event: Event = json.loads(line)
        if event["t"] < last:
            raise ValueError(f"{file.name}:{number}: time went back, the clock is not shared")
        last = event["t"]
        yield event
