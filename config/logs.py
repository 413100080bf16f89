"""Where log lines go: one JSON object a line, to standard error or to `LOG_FILE` with rotation."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

REQUEST_LOGGER = "sluice.requests"  # its messages are JSON lines already


class JSONLines(logging.Formatter):
    """One line a record, whatever is in it: a newline in a message cannot forge a second entry."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == REQUEST_LOGGER:
            return record.getMessage()
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def logging_from(level: str, path: str, max_bytes: int, backups: int) -> dict[str, Any]:
    """`LOGGING` for Django."""
    destination: dict[str, Any] = (
        {
            "class": "logging.handlers.RotatingFileHandler",
            "filename": path,
            "maxBytes": max_bytes,
            "backupCount": backups,
            "delay": True,
        }
        if path
        else {"class": "logging.StreamHandler"}
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "config.logs.JSONLines"}},
        "handlers": {"lines": {**destination, "formatter": "json"}},
        "root": {"handlers": ["lines"], "level": level},
        "loggers": {
            "uvicorn.access": {"handlers": [], "propagate": False, "level": "CRITICAL"},
            "asyncio": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
        },
    }
