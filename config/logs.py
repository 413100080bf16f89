"""Where log lines go, as JSON or for people: to standard error or to `LOG_FILE`, which all processes share."""

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
"""Of a new `LOG_FILE`, for the group that collects logs; one that is there keeps the mode that its operator gave it."""


class JSONLines(logging.Formatter):
    """One line a record, whatever is in it: a newline in a message cannot forge a second entry.

    Django tells of addresses, into which clients write tokens. Lines of requests are made without, and by the thousand.
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
    """For a person at a terminal: time, level, and what happened; of a request what one looks for first."""

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
    """On one line, and without what a terminal would obey: clients choose paths and names."""
    return "".join(character if character.isprintable() else " " for character in text)


class SharedFile(logging.Handler):
    """Writes to a file that is rotated by whichever process finds it full. logging's own handler rotates for itself:
    of two processes, one goes on writing to a file that the other has renamed, or removes what the other wrote.
    """

    def __init__(self, path: str, max_bytes: int, backups: int) -> None:
        super().__init__()
        self._file = RotatedFile(path, max_bytes, backups, mode=MODE)

    def emit(self, record: logging.LogRecord) -> None:
        """One record may be the lines of many requests."""
        lines = self.format(record).encode(errors="replace") + b"\n"
        try:
            for piece in _pieces(lines, self._file.max_bytes):
                self._file.append(piece)
        except OSError:
            self.handleError(record)  # says so on standard error


def _pieces(lines: bytes, size: int) -> Iterator[bytes]:
    """Whole lines of up to `size` bytes together; a line that is longer than that is a piece by itself."""
    start = 0
    while len(lines) - start > size:
        end = lines.rfind(b"\n", start, start + size) + 1 or lines.index(b"\n", start) + 1
        yield lines[start:end]
        start = end
    if start < len(lines):
        yield lines[start:]


def check_log_file(env: Environment, path: str) -> None:
    """A file that nothing can be written to is told at the start, not by lines that are missing."""
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
    """`LOGGING` for Django. `form` is `json` or `text`; `auto` is text where a terminal shows it."""
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
