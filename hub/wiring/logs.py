"""Structured logs: one JSON object a line.

1. Each process has its own file `run/ROLE.log` and rotates it itself.
2. Facts go in `extra`, never into the message text; secrets go in neither.
"""

import datetime as dt
import json
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Any

_MAX_BYTES = 16_777_216
_KEPT = 3
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON, its extra facts beside the message.

    Args:
        process: its name.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        instant = dt.datetime.fromtimestamp(record.created, dt.UTC)
        facts: dict[str, Any] = {
            "time": instant.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in vars(record).items():
            if key not in _STANDARD:
                facts.setdefault(key, value)
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return json.dumps(facts, default=str, ensure_ascii=False)


class _PrivateRotatingFile(logging.handlers.RotatingFileHandler):
    """A rotating log file that is born with mode 0600: it names devices and people."""

    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


def configure(process: str, level: str, file: Path | None) -> None:
    """Send this process's logs to its file.

    Args:
        process: its name.
        level: `debug`, `info`, `warning` or `error`.
        file: the log file; None writes to standard error.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = _PrivateRotatingFile(file, maxBytes=_MAX_BYTES, backupCount=_KEPT)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for chatty in ("numba", "asyncio", "alembic", "uvicorn", "nats"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
