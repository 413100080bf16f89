"""Small JSON files that are replaced as a whole, so that a reader sees either the old or the new document."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def replace_file(path: Path, document: msgspec.Struct, *, durable: bool = False) -> None:
    """Replace a file. If `durable`, it outlives a power failure after this has returned. Raises `OSError`."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(msgspec.json.encode(document))
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_file(path: Path, kind: type[T]) -> T:
    """Read a file. Return an empty document if there is none, or if it cannot be decoded. Raises `OSError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return kind()
