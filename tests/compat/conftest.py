"""A queue of its own for each test, by the settings of the process."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, queue_name: str) -> None:
    for name in ("PEAK_PREFIX", "PEAK_LEASE", "PEAK_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PEAK_QUEUE", queue_name)
