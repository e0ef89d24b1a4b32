"""Log lines: text on a terminal, JSON elsewhere; never a header, a body, a query or a password."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

from pyclient.settings import Settings, redact_text

LOGGER = "peakshaver.gateway"
_FIELDS = "peak"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.gmtime(record.created)
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', stamp)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact_text(record.getMessage()),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = redact_text(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """For people: time, level, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = getattr(record, _FIELDS, {})
        tail = "".join(f" {name}={value}" for name, value in fields.items())
        line = f"{stamp} {record.levelname.lower():7} {redact_text(record.getMessage())}{tail}"
        if record.exc_info:
            line += "\n" + redact_text(self.formatException(record.exc_info))
        return line


def setup(settings: Settings, stream: TextIO | None = None) -> logging.Logger:
    """Send the lines of the gateway and of its server to `stream` (stderr)."""
    out = sys.stderr if stream is None else stream
    plain = settings.log == "text" or (settings.log == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(TextFormatter() if plain else JsonFormatter())
    level = settings.log_level.upper()
    for name in ("peakshaver", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("uvicorn.access").disabled = True
    return logging.getLogger(LOGGER)


def fields(**values: object) -> dict[str, dict[str, object]]:
    """For the argument `extra` of a logging call."""
    return {_FIELDS: values}
