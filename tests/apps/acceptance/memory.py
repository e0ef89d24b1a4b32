"""The highest memory of Redis and of processes while a block runs, MB."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

MB = 1024 * 1024


def rss(pid: int) -> float:
    """Resident memory of a process, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / MB


class Peak:
    """`with Peak(client, {"gateway": pid}) as peak:`, then `peak.grown("redis")` and as text."""

    def __init__(self, client: Any, processes: dict[str, int]) -> None:
        self._client = client
        self._processes = processes
        self.base = self._now()
        self.most = dict(self.base)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _now(self) -> dict[str, float]:
        found = {name: rss(pid) for name, pid in self._processes.items()}
        found["redis"] = int(self._client.info("memory")["used_memory"]) / MB
        return found

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            for name, value in self._now().items():
                self.most[name] = max(self.most[name], value)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def grown(self, name: str) -> float:
        """By how much it rose."""
        return self.most[name] - self.base[name]

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {self.grown(name):.1f} (peak {self.most[name]:.0f})" for name in self.base
        )
