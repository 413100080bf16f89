"""The dispatcher to a file: one JSON object a line, rotated by size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from django.conf import settings

from usage.dispatch.base import Dispatcher, Later, Rejected
from usage.dispatch.shape import document_of
from usage.event import RequestEvent
from usage.rotated_file import RotatedFile


class FileDispatcher(Dispatcher):
    """Writes a JSONL file. A batch is synced to the disk before it counts as delivered. Only its owner can read it."""

    takes: ClassVar = ("path", "max_bytes", "backups")

    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        lines = b"".join(msgspec.json.encode(document_of(event)) + b"\n" for event in events)
        path = Path(self.target.path or settings.DISPATCH_DIR / f"{self.target.name}.jsonl")
        file = RotatedFile(path, self.target.max_bytes, self.target.backups)
        try:
            file.append(lines, durably=True)
        except OSError as error:
            raise Later(f"the file takes nothing: {error.strerror}") from None
        return []
