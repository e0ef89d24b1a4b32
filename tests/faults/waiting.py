"""What rows wait for: by what the histories say, never by a sleep that is hoped to be enough."""

from __future__ import annotations

import json
from pathlib import Path

from .processes import until
from .stand import Stand


def staff(stand: Stand, count: int, *, concurrency: int = 8, **env: str) -> None:
    """So many workers."""
    for _ in range(count):
        stand.worker(concurrency=concurrency, **env)


def until_busy(stand: Stand, names: list[str] | None = None) -> None:
    """Until each worker (or those of these names) has begun something since now."""
    wanted = names or [worker.name for worker in stand.workers]
    files = [stand.folder / f"{name}.jsonl" for name in wanted]
    sizes = {file: _size(file) for file in files}
    until(
        lambda: all(_size(file) > sizes[file] for file in files),
        "work for every worker",
        60,
    )


def until_done(stand: Stand, timeout: float = 60.0) -> None:
    """Until each load had a request done that it sent after now."""
    before = {load.name: _size(stand.folder / f"{load.name}.jsonl") for load in stand.loads}

    def served() -> bool:
        return all(
            _served(stand.folder / f"{name}.jsonl", size)
            for name, size in before.items()
            if any(load.name == name and load.running for load in stand.loads)
        )

    until(served, "a request that is served again", timeout)


def _served(file: Path, begin: int) -> bool:
    with file.open("rb") as lines:
        lines.seek(begin)
        whole = lines.read().rpartition(b"\n")[0]
    told = (line for line in whole.splitlines() if b'"submit"' in line or b'"done"' in line)
    fresh = [json.loads(line) for line in told]
    sent = {event["n"] for event in fresh if event["e"] == "submit"}
    return any(e["e"] == "end" and e["word"] == "done" and e["n"] in sent for e in fresh)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
