"""Log lines: text on a terminal, one JSON object a line elsewhere, and never a flood."""

from __future__ import annotations

import json
import logging
import os
import sys
import time

BURST = 5
PERIOD_S = 10.0
_MOST_KEYS = 1000


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": os.getpid(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Sparing(logging.Filter):
    """At most `BURST` lines of a kind in `PERIOD_S`; the next one says how many were left out.

    A kind is a logger, its format string and its first argument: a Redis that is away, or one
    route that fails, can't fill the disk, nor hide what else is said.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write this line."""
        if record.levelno >= logging.CRITICAL:
            return True
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        key = (record.name, record.msg, str(first)[:80])
        began, count = self._seen.get(key, (0.0, 0))
        now = time.monotonic()
        if now - began >= PERIOD_S:
            if len(self._seen) >= _MOST_KEYS:
                self._seen.clear()
            if count > BURST:
                record.msg = f"{record.msg} (and {count - BURST} more like it before)"
            self._seen[key] = (now, 1)
            return True
        self._seen[key] = (began, count + 1)
        return count < BURST


def set_up(form: str, level: str) -> None:
    """Log to stderr: `form` is auto, text or json; `level` a word of the settings."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)-7s [%(process)d] %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonFormatter() if as_json else plain)
    handler.addFilter(Sparing())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
