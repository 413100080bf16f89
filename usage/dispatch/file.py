"""To a file: one JSON object a line, rotated by size."""

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
    """A JSONL event log. A batch is on the disk when it counts as delivered, and only its owner can read the file."""

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
