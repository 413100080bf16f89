"""What was purged. Each purge has a number; it hides the entries whose providers were asked before it was known.

So it also hides an answer that was on its way when it came, and what a process that learns of it late stores
meanwhile, in memory, in Redis and in the database. Nothing has to be found to be gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cache.entry import About

KEPT_S = 2 * 86_400
"""How long a purge is remembered. No entry is in Redis for longer than a day, and the database's are deleted."""


class Purge(NamedTuple):
    """It hides the entries to which all its members apply; with none of them, all entries."""

    number: int
    at: float
    """Unix time, in seconds."""
    digest: str = ""
    project_id: int | None = None
    path: str = ""
    """The beginning of the endpoint's path."""
    model: str = ""
    """The beginning of the client's name for the model."""
    response_id: str = ""
    """The provider's id of the answer, which its client has deleted."""

    def concerns(self, digest: str, about: About) -> bool:
        return (
            self.digest in ("", digest)
            and self.project_id in (None, about.project_id)
            and about.path.startswith(self.path)
            and about.model.startswith(self.model)
            and self.response_id in ("", about.response_id)
        )


class Purges:
    """Those that a process knows. Numbers become visible in their order (`cache/purge.py`)."""

    def __init__(self) -> None:
        self.newest = 0
        self._of_digests: dict[str, Purge] = {}
        self._of_responses: dict[str, Purge] = {}
        self._wide: list[Purge] = []

    def __len__(self) -> int:
        return len(self._of_digests) + len(self._of_responses) + len(self._wide)

    def add(self, purges: Iterable[Purge], now: float) -> None:
        """Those that are older than `KEPT_S` are forgotten."""
        for purge in purges:
            self.newest = max(self.newest, purge.number)
            if purge.digest and purge == Purge(purge.number, purge.at, purge.digest):
                self._of_digests[purge.digest] = purge
            elif purge.response_id and purge == Purge(purge.number, purge.at, response_id=purge.response_id):
                self._of_responses[purge.response_id] = purge
            elif purge not in self._wide:
                self._wide.append(purge)
        oldest = now - KEPT_S
        self._wide = [purge for purge in self._wide if purge.at > oldest]
        for single in (self._of_digests, self._of_responses):
            for name in [name for name, purge in single.items() if purge.at <= oldest]:
                del single[name]

    def hides(self, digest: str, about: About) -> bool:
        if about.purge >= self.newest:
            return False
        for single in (self._of_digests.get(digest), self._of_responses.get(about.response_id)):
            if single is not None and single.number > about.purge:
                return True
        return any(purge.number > about.purge and purge.concerns(digest, about) for purge in self._wide)
