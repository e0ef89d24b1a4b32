"""The live view: one line a second; on a terminal it is one line that changes."""

from __future__ import annotations

import os
import shutil
from typing import Any, TextIO

_BAR = 12
_TITLES = ("offered", "ok", "refused", "failed", "lost")


class View:
    """Writes to `out`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._left = False
        self.live = out.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str = "") -> None:
        """A line that stays; it takes the place of a state that is shown."""
        self._write(f"\r\x1b[2K{text}\n" if self.live else f"{text}\n")

    def tick(self, text: str) -> None:
        """The state of this second."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[2K{text[:width]}")
        else:
            self._write(f"{text}\n")

    def settle(self) -> None:
        """Leave the last state standing."""
        if self.live:
            self._write("\n")

    def _write(self, text: str) -> None:
        if self._left:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            self._left = True  # nobody looks any more; the work goes on


def progress_line(
    said: dict[str, Any], backend: dict[str, Any] | None, gauge: dict[str, Any] | None, full: float
) -> str:
    """One second of a peak; `full` is how many may wait in the line."""
    parts = [f"{said['seconds']:5.1f} s"]
    parts += [f"{name} {said[name]:>6,}" for name in _TITLES]
    if backend is not None:
        parts.append(f"backend {backend['in_flight']:>6,}/{backend['slots']}")
    if gauge is not None:
        high, low = gauge["levels"][3], gauge["levels"][4]
        parts.append(f"line {bar(high + low, full)} {high} high {low} low")
    return "  ".join(parts)


def bar(value: float, full: float) -> str:
    """A bar of fixed width."""
    filled = min(_BAR, round(value / full * _BAR)) if full else 0
    return "█" * filled + "·" * (_BAR - filled)
