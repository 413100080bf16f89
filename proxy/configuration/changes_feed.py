"""Reads the change feed: what changed in the configuration since a version, from the rows that every change writes."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from django.conf import settings
from django.db import DatabaseError

from cache.purge import purges_of
from cache.purges import Purge
from keys.limits.scope import Scopes
from keys.records import KeyRecord, ProjectRecord, load_projects
from keys.scopes import global_scope
from providers.catalog import Catalog, load_catalog
from proxy.configuration.changes import EVERYTHING, current_version
from proxy.models import ConfigChange
from usage.prices.book import Prices, load_prices

log = logging.getLogger("sluice.snapshot")
T = TypeVar("T")


class ChangedKeys(NamedTuple):
    """Which keys to forget: single ones, and all keys of some owners, teams, projects and tiers."""

    ids: frozenset[int] = frozenset()
    owners: frozenset[int] = frozenset()
    teams: frozenset[int] = frozenset()
    projects: frozenset[int] = frozenset()
    tiers: frozenset[int] = frozenset()

    def belong_to_changed(self, key: KeyRecord) -> bool:
        return (
            key.owner_id in self.owners
            or key.team_id in self.teams
            or key.project_id in self.projects
            or (key.tier is not None and key.tier.id in self.tiers)
        )


class ConfigurationChanges(NamedTuple):
    """What changed since a version; None for a part that did not change."""

    version: int
    catalog: Catalog | None
    projects: dict[int, ProjectRecord] | None
    global_scopes: Scopes | None
    keys: ChangedKeys
    all_keys: bool
    prices: Prices | None
    purges: list[Purge]
    """What was purged of the response cache."""
    problems: dict[str, list[str]]
    """What could not be compiled, for each part that was read."""


class Reading:
    """Reads parts of the configuration. A row that cannot be compiled is skipped and noted, and the rest is read."""

    def __init__(self) -> None:
        self.problems: dict[str, list[str]] = {}

    def catalog(self) -> Catalog | None:
        return self._part("providers", lambda bad: load_catalog(settings.UPSTREAM_CREDENTIALS, bad))

    def projects(self) -> dict[int, ProjectRecord] | None:
        return self._part("projects", load_projects)

    def global_scopes(self) -> Scopes | None:
        return self._part("global limits", lambda _: load_global_scopes())

    def prices(self, catalog: Catalog | None) -> Prices | None:
        kinds = [provider.kind.name for provider in catalog.providers] if catalog is not None else []
        return self._part("prices", lambda bad: load_prices(kinds, bad))

    def _part(self, name: str, load: Callable[[Callable[[str, Exception], None]], T]) -> T | None:
        """Read one part; None if nothing of it can be read: then what was known before stays in force.

        Raises `DatabaseError`.
        """
        problems = self.problems[name] = []

        def is_bad(what: str, error: Exception) -> None:
            log.error("The configuration of %s cannot be used, and is skipped.", what, exc_info=error)
            problems.append(f"{what}: {type(error).__name__}")

        try:
            return load(is_bad)
        except DatabaseError:
            raise
        except Exception as error:
            is_bad(f"all {name}", error)
            return None


def read_everything() -> ConfigurationChanges:
    version = current_version()  # read first: a change that comes in between is read twice, never missed
    reading = Reading()
    catalog = reading.catalog()
    return ConfigurationChanges(
        version=version,
        catalog=catalog,
        projects=reading.projects(),
        global_scopes=reading.global_scopes(),
        keys=ChangedKeys(),
        all_keys=True,
        prices=reading.prices(catalog),
        purges=purges_of(),
        problems=reading.problems,
    )


def read_changes(since: int) -> ConfigurationChanges | None:
    """What changed after the version `since`; None if nothing did."""
    changes = list(ConfigChange.objects.filter(pk__gt=since).order_by("pk").values_list("pk", "subject", "object_id"))
    if not changes:
        return None
    if changes[0][0] > since + 1:
        return read_everything()  # a row is missing (pruned, or rolled back), so it is unknown what changed
    subjects: defaultdict[str, set[int]] = defaultdict(set)
    for _, subject, object_id in changes:
        subjects[subject].add(object_id)
    if EVERYTHING in subjects:
        return read_everything()
    reading = Reading()
    catalog = reading.catalog() if subjects.keys() & {"provider", "credential", "priceoverride"} else None
    prices = reading.prices(catalog) if subjects.keys() & {"provider", "priceoverride"} else None
    return ConfigurationChanges(
        version=changes[-1][0],
        catalog=catalog,
        projects=reading.projects() if "project" in subjects else None,
        global_scopes=reading.global_scopes() if "globallimits" in subjects else None,
        keys=ChangedKeys(
            *(frozenset(subjects.get(subject, ())) for subject in ("virtualkey", "account", "team", "project", "tier"))
        ),
        all_keys=False,
        prices=prices,
        purges=purges_of(subjects["cachepurge"]) if "cachepurge" in subjects else [],
        problems=reading.problems,
    )


def load_global_scopes() -> Scopes:
    """The scope of the whole gateway, in the shape in which admission takes scopes; empty if it has none."""
    scope = global_scope()
    return (scope,) if scope is not None else ()
