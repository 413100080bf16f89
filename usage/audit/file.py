"""The audit log as a file: one JSON object a line, rotated by size, shared by all processes of an installation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from usage.audit.entry import AuditEntry
from usage.rotated_file import RotatedFile


class AuditFile:
    """The audit file, which only its owner can read."""

    def __init__(self, path: str, max_bytes: int, backups: int) -> None:
        self._file = RotatedFile(path, max_bytes, backups)

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Write a line for each entry. Raises `OSError`."""
        lines = [json.dumps(written(entry), cls=DjangoJSONEncoder) + "\n" for entry in entries]
        self._file.append("".join(lines).encode())


def written(entry: AuditEntry) -> dict[str, Any]:
    names = (field.attname for field in entry._meta.concrete_fields)
    return {name: getattr(entry, name) for name in names}
