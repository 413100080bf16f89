"""Logging, as JSON or for people: to standard error, or to `LOG_FILE`, which all processes share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from config.environment import Environment
from usage.masking import without_tokens
from usage.rotated_file import RotatedFile

REQUEST_LOGGER = "sluice.requests"  # its messages are JSON lines already
MODE = 0o640
"""The mode of a new `LOG_FILE`, for the group that collects logs. An existing file keeps its mode."""


class JSONLines(logging.Formatter):
    """One line for each record: a newline in a message cannot forge a second entry.

    Tokens are removed, because Django logs addresses into which clients write them. Lines of requests never contain
    them, and there are thousands, so they are not searched.
    """

    def format(self, record: logging.LogRecord) -> str:
        if record.name == REQUEST_LOGGER:
            return record.getMessage()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_tokens(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = without_tokens(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """Lines for people at a terminal: time, level and message; for a request, what people look for first."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == REQUEST_LOGGER:
            return "\n".join(map(request_text, record.getMessage().splitlines()))
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # noqa: DTZ006 (the person's own time)
        text = shown(without_tokens(record.getMessage()))
        if record.exc_info:
            text += "\n" + without_tokens(self.formatException(record.exc_info))
        return f"{at} {record.levelname:<7} {text}"


def request_text(line: str) -> str:
    event = msgspec.json.decode(line)
    at = datetime.fromisoformat(event["time"]).astimezone().strftime("%H:%M:%S")
    parts = [event.get(name, "") for name in ("method", "path", "model", "provider", "outcome", "error")]
    words = " ".join(str(word) for word in parts if word and word != "complete")
    return shown(f"{at} {event.get('status', '-'):<7} {words} {event.get('duration_ms', 0)} ms {event.get('id', '')}")


def shown(text: str) -> str:
    """One line without control characters, because clients choose paths and names."""
    return "".join(character if character.isprintable() else " " for character in text)


class SharedFile(logging.Handler):
    """Writes to a file that any process rotates when it is full. logging's own handler does not know of other
    processes: one keeps writing to a file that another has renamed, or removes what another wrote.
    """

    def __init__(self, path: str, max_bytes: int, backups: int) -> None:
        super().__init__()
        self._file = RotatedFile(path, max_bytes, backups, mode=MODE)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, which may have the lines of many requests."""
        lines = self.format(record).encode(errors="replace") + b"\n"
        try:
            for piece in _pieces(lines, self._file.max_bytes):
                self._file.append(piece)
        except OSError:
            self.handleError(record)  # it reports the error on standard error


def _pieces(lines: bytes, size: int) -> Iterator[bytes]:
    """Split into pieces of whole lines, of up to `size` bytes. A longer line is a piece by itself."""
    start = 0
    while len(lines) - start > size:
        end = lines.rfind(b"\n", start, start + size) + 1 or lines.index(b"\n", start) + 1
        yield lines[start:end]
        start = end
    if start < len(lines):
        yield lines[start:]


def check_log_file(env: Environment, path: str) -> None:
    """Refuse a file that cannot be written at the start, so that the operator does not find out by missing lines."""
    if not path:
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        is_new = not Path(path).exists()
        with Path(path).open("ab") as file:
            if is_new:
                os.fchmod(file.fileno(), MODE)
    except OSError as error:
        env.refuse("LOG_FILE", f"{path!r} cannot be written ({error.strerror}); name another file")


def logging_from(level: str, path: str, max_bytes: int, backups: int, form: str) -> dict[str, Any]:
    """`LOGGING` for Django. `form` is `json`, `text` or `auto`: text if standard error is a terminal, else JSON."""
    if form == "auto":
        form = "text" if not path and sys.stderr.isatty() else "json"
    destination: dict[str, Any] = (
        {
            "()": "config.logs.SharedFile",
            "path": path,
            "max_bytes": max_bytes,
            "backups": backups,
        }
        if path
        else {"class": "logging.StreamHandler"}
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "config.logs.JSONLines"}, "text": {"()": "config.logs.TextLines"}},
        "handlers": {"lines": {**destination, "formatter": form}},
        "root": {"handlers": ["lines"], "level": level},
        "loggers": {
            "uvicorn.access": {"handlers": [], "propagate": False, "level": "CRITICAL"},
            "asyncio": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
        },
    }
