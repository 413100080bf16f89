"""The origins of browser pages that projects allow."""

from __future__ import annotations

from collections.abc import Iterable

from keys.records import ProjectRecord
from keys.rules import Origins


class AnyOrigin:
    """The origins of all active projects together."""

    def __init__(self, origins: list[Origins]) -> None:
        self._origins = origins

    def allow(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        return text.isprintable() and any(origins.allow(text) for origins in self._origins)


def origins_of(projects: Iterable[ProjectRecord]) -> AnyOrigin | None:
    """The origins that any of these projects allows; None if there are none: then no request's origin is checked."""
    origins = [
        project.rules.origins
        for project in projects
        if project.is_active and project.rules is not None and project.rules.origins is not None
    ]
    return AnyOrigin(origins) if origins else None
