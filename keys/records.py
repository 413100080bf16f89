"""What a process keeps in memory about keys and projects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from keys.limits.scope import Scope, Scopes
from keys.models import Project, Tier, VirtualKey
from keys.models.project import ALLOW, OFF
from keys.rules import Rules
from keys.scopes import account_of, any_budget, project_scope, scopes_of_key

log = logging.getLogger("sluice.keys")

OnBad = Callable[[str, Exception], None]
"""Called with the name of a row that cannot be compiled, and the error."""

ALL = "all"
"""A value of `Project.capture_bodies`. For `off` a record has an empty text."""


class ProjectRecord(msgspec.Struct, frozen=True, eq=False):
    """One project. `scope` is None if it has no limits. Its keys have it among their own scopes."""

    id: int
    name: str
    is_active: bool
    upstream_alias: str
    rules: Rules | None = None
    """None: the project has no rules."""
    scope: Scope | None = None
    captures: str = ""
    """Which bodies are kept: `all`, `errors`, or "" for none."""
    unmetered: str | None = None
    """`allow` or `refuse`; None: it depends on the key."""
    is_bound: bool = False
    """It has a budget, which also applies to requests without a key."""
    foreign_ids: bool = False
    """Its keys may use stored objects that no project made."""
    cache_policy: str | None = None
    """`off`, `on` or `opt_in`; None: the gateway's default."""
    cache_ttl_s: int | None = None
    cache_scope: str = "project"


class TierRecord(msgspec.Struct, frozen=True):
    """The tier of a key's owner. `compute` is `byok` or `local`."""

    id: int
    name: str
    daily_embeddings: int
    compute: str


class KeyRecord(msgspec.Struct, frozen=True, eq=False):
    """One virtual key under one of its tokens. Times are Unix seconds.

    A key that was rotated with a grace has a second record until `grace_until`, with the old public id and secret.
    `scopes` has the key, user, team and project, in this order, as far as they have limits.
    """

    id: int
    name: str
    public_id: str
    salt: bytes
    secret_hash: bytes
    project_id: int
    owner_id: int | None
    team_id: int | None
    is_active: bool
    is_revoked: bool
    expires_at: float | None
    grace_until: float | None
    exact_models: frozenset[str]
    model_globs: tuple[str, ...]
    upstream_alias: str
    tags: tuple[str, ...]
    scopes: Scopes
    tier: TierRecord | None
    is_bound: bool
    """It has a list of models, or one of its scopes has a budget."""

    @property
    def takes_every_model(self) -> bool:
        return not self.exact_models and not self.model_globs

    def may_use(self, model: str) -> bool:
        if model in self.exact_models or self.takes_every_model:
            return True
        return any(fnmatchcase(model, glob) for glob in self.model_globs)


def key_record(row: VirtualKey, public_id: str) -> KeyRecord:
    """The record of a row under `public_id`, which is the current one or the one before the last rotation."""
    globs = tuple(name for name in row.allowed_models if any(c in name for c in "*?["))
    everything = "*" in globs
    old = public_id != row.public_id
    owner, account, scopes = row.owner, account_of(row), scopes_of_key(row)
    return KeyRecord(
        id=row.pk,
        name=row.name,
        public_id=public_id,
        salt=bytes((row.previous_salt if old else row.salt) or b""),
        secret_hash=bytes((row.previous_hash if old else row.secret_hash) or b""),
        project_id=row.project_id,
        owner_id=row.owner_id,
        team_id=row.team_id,
        is_active=row.is_active and (owner is None or owner.is_active),
        is_revoked=row.revoked_at is not None,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        grace_until=row.previous_until.timestamp() if old and row.previous_until else None,
        exact_models=frozenset() if everything else frozenset(row.allowed_models) - set(globs),
        model_globs=() if everything else globs,
        upstream_alias=row.upstream_alias,
        tags=tuple(row.tags),
        scopes=scopes,
        tier=tier_record(account.tier) if account else None,
        is_bound=bool(row.allowed_models and not everything) or any_budget(scopes),
    )


def tier_record(row: Tier) -> TierRecord:
    return one_of(TierRecord(row.pk, row.name, row.daily_embeddings, row.compute))


@lru_cache(maxsize=100)
def one_of(equal: TierRecord) -> TierRecord:
    return equal


def project_record(row: Project) -> ProjectRecord:
    own = project_scope(row)
    return ProjectRecord(
        row.pk,
        row.name,
        row.is_active,
        row.upstream_alias,
        row.compiled_rules(),
        own,
        "" if row.capture_bodies == OFF else row.capture_bodies,
        row.unmetered or None,
        own is not None and any_budget([own]),
        row.foreign_ids == ALLOW,
        row.cache_policy or None,
        row.cache_ttl_s,
        row.cache_scope,
    )


def log_bad(what: str, error: Exception) -> None:
    log.error("The row of %s cannot be used (%s).", what, type(error).__name__)


def load_keys(
    public_ids: Collection[str], bad: set[str] | None = None, on_bad: OnBad = log_bad
) -> dict[str, tuple[KeyRecord, ProjectRecord]]:
    """Load the keys with these public ids that exist, with their projects, in one query.

    A key that cannot be compiled is skipped, and its public id is added to `bad`.
    """
    in_grace = Q(previous_public_id__in=public_ids, previous_until__gt=timezone.now())
    rows = VirtualKey.objects.filter(Q(public_id__in=public_ids) | in_grace)
    records: dict[str, tuple[KeyRecord, ProjectRecord]] = {}
    for row in rows.select_related("project", "team", "owner__account__tier"):
        for public_id in (row.public_id, row.previous_public_id):
            if public_id is not None and public_id in public_ids:
                try:
                    records[public_id] = key_record(row, public_id), project_record(row.project)
                except Exception as error:  # whatever is wrong with one key, the others are loaded
                    on_bad(f"key {row.pk}", error)
                    if bad is not None:
                        bad.add(public_id)
    return records


def load_projects(on_bad: OnBad = log_bad) -> dict[int, ProjectRecord]:
    """All projects that can be compiled."""
    records: dict[int, ProjectRecord] = {}
    for row in projects_of(on_bad):
        try:
            records[row.pk] = project_record(row)
        except Exception as error:  # one bad row must not stop changes of others from being read
            on_bad(f"project {row.pk}", error)
    return records


def projects_of(on_bad: OnBad) -> Iterator[Project]:
    """All rows. If one cannot even be read, they are read one by one: SQLite takes any value in any column."""
    try:
        yield from list(Project.objects.all())
    except DatabaseError:
        raise
    except Exception:
        for pk in Project.objects.values_list("pk", flat=True):
            try:
                yield from list(Project.objects.filter(pk=pk))
            except DatabaseError:
                raise
            except Exception as error:
                on_bad(f"project {pk}", error)
