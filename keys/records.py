"""What a process keeps in memory of keys and projects."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

import msgspec

from keys.models import Project, VirtualKey


class ProjectRecord(msgspec.Struct, frozen=True):
    id: int
    name: str
    is_active: bool
    upstream_alias: str


class KeyRecord(msgspec.Struct, frozen=True):
    """One virtual key; times are Unix seconds."""

    id: int
    name: str
    public_id: str
    salt: bytes
    secret_hash: bytes
    project_id: int
    owner_id: int | None
    is_active: bool
    is_revoked: bool
    expires_at: float | None
    exact_models: frozenset[str]
    model_globs: tuple[str, ...]
    rpm: int | None
    upstream_alias: str
    tags: tuple[str, ...]

    @property
    def takes_every_model(self) -> bool:
        return not self.exact_models and not self.model_globs

    def may_use(self, model: str) -> bool:
        if model in self.exact_models or self.takes_every_model:
            return True
        return any(fnmatchcase(model, glob) for glob in self.model_globs)


def key_record(row: VirtualKey) -> KeyRecord:
    globs = tuple(name for name in row.allowed_models if any(c in name for c in "*?["))
    everything = "*" in globs
    return KeyRecord(
        id=row.pk,
        name=row.name,
        public_id=row.public_id,
        salt=bytes(row.salt),
        secret_hash=bytes(row.secret_hash),
        project_id=row.project_id,
        owner_id=row.owner_id,
        is_active=row.is_active,
        is_revoked=row.revoked_at is not None,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        exact_models=frozenset() if everything else frozenset(row.allowed_models) - set(globs),
        model_globs=() if everything else globs,
        rpm=row.rpm,
        upstream_alias=row.upstream_alias,
        tags=tuple(row.tags),
    )


def project_record(row: Project) -> ProjectRecord:
    return ProjectRecord(row.pk, row.name, row.is_active, row.upstream_alias)


def load_keys(public_ids: Collection[str]) -> dict[str, tuple[KeyRecord, ProjectRecord]]:
    """The keys that exist among these public ids, with their projects, in one query."""
    rows = VirtualKey.objects.filter(public_id__in=public_ids).select_related("project")
    return {row.public_id: (key_record(row), project_record(row.project)) for row in rows}


def load_projects() -> dict[int, ProjectRecord]:
    return {row.pk: project_record(row) for row in Project.objects.all()}
