"""Bounds the names that get their own label: clients choose names of models, and Prometheus keeps each forever."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path

log = logging.getLogger("sluice.metrics")

OTHER = "other"


class Labels:
    """Gives a label to the first `most` names; all later ones are `other`.

    All workers, even dead ones, share one file of names. So a name has a label in all workers or in none, and the bound
    is that of all workers together.
    """

    def __init__(self, kind: str, most: int, directory: Path | None) -> None:
        """`directory` is shared by the workers; None if there is one process."""
        self._most = most
        self._names: set[str] = {""}
        self._read = 0
        self._path = directory / f"{kind}.labels" if directory is not None else None

    def of(self, name: str) -> str:
        """Return the label of a name: the name itself, or `other`."""
        if name in self._names:
            return name
        if len(self._names) > self._most:
            return OTHER
        if self._path is None:
            self._names.add(name)
        else:
            try:
                self._look_up(name, self._path)
            except OSError as error:
                log.warning("The book of labels takes no name (%s): counted as %r.", error.strerror, OTHER)
        return name if name in self._names else OTHER

    def _look_up(self, name: str, path: Path) -> None:
        with path.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(self._read)
            for line in file.readlines():
                self._names.add(json.loads(line))
                self._read += len(line)
            if name not in self._names and len(self._names) <= self._most:
                line = json.dumps(name).encode() + b"\n"
                os.write(file.fileno(), line)
                self._names.add(name)
                self._read += len(line)
