"""The audit log as a file: one JSON object a line, rotated by size, shared by all processes of an installation."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from usage.audit.entry import AuditEntry


class AuditFile:
    """`path`, and beside it `path.1` (the last one before) to `path.N`. Only its owner can read it."""

    def __init__(self, path: str, max_bytes: int, backups: int) -> None:
        self.path, self.max_bytes, self.backups = Path(path), max_bytes, backups

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Raises `OSError`."""
        lines = "".join(json.dumps(written(entry), cls=DjangoJSONEncoder) + "\n" for entry in entries).encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self.path.exists() and self.path.stat().st_size + len(lines) > self.max_bytes:
                self._rotate()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(lines)

    def _rotate(self) -> None:
        for number in range(self.backups, 0, -1):
            younger = self._backup(number - 1) if number > 1 else self.path
            if younger.exists():
                younger.replace(self._backup(number))
        if not self.backups:
            self.path.unlink()

    def _backup(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Workers and commands write to the one file; a lock beside it stays when the file is rotated away."""
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def written(entry: AuditEntry) -> dict[str, Any]:
    names = (field.attname for field in entry._meta.concrete_fields)
    return {name: getattr(entry, name) for name in names}
