"""What changed in the configuration since a version, read from the notes that every change leaves."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from django.conf import settings

from keys.limits.scope import Scope
from keys.records import KeyRecord, ProjectRecord, load_projects
from keys.scopes import global_scope
from providers.catalog import Catalog, load_catalog
from proxy.changes import EVERYTHING, current_version
from proxy.models import ConfigChange
from usage.prices.book import Prices, load_prices


class ChangedKeys(NamedTuple):
    """Which keys to forget: some by themselves, all of some owners, teams and projects, or all of some tiers."""

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


class News(NamedTuple):
    """What changed since a version; None where a part did not."""

    version: int
    catalog: Catalog | None
    projects: dict[int, ProjectRecord] | None
    global_scopes: tuple[Scope, ...] | None
    keys: ChangedKeys
    all_keys: bool
    prices: Prices | None


def read_everything() -> News:
    version = current_version()  # before the rest: a change that comes in between is read twice, never missed
    catalog = load_catalog(settings.UPSTREAM_CREDENTIALS)
    return News(
        version=version,
        catalog=catalog,
        projects=load_projects(),
        global_scopes=load_global_scopes(),
        keys=ChangedKeys(),
        all_keys=True,
        prices=prices_for(catalog),
    )


def prices_for(catalog: Catalog) -> Prices:
    return load_prices(provider.kind.name for provider in catalog.providers)


def read_news(since: int) -> News | None:
    """What the notes after `since` speak of; None when there are none."""
    notes = list(ConfigChange.objects.filter(pk__gt=since).order_by("pk").values_list("pk", "subject", "object_id"))
    if not notes:
        return None
    if notes[0][0] > since + 1:
        return read_everything()  # a note is missing (pruned, or rolled back): nobody can say what it spoke of
    subjects: defaultdict[str, set[int]] = defaultdict(set)
    for _, subject, object_id in notes:
        subjects[subject].add(object_id)
    if EVERYTHING in subjects:
        return read_everything()
    catalog = load_catalog(settings.UPSTREAM_CREDENTIALS) if subjects.keys() & {"provider", "credential"} else None
    prices = None
    if subjects.keys() & {"provider", "priceoverride"}:
        prices = prices_for(catalog or load_catalog(settings.UPSTREAM_CREDENTIALS))
    return News(
        version=notes[-1][0],
        catalog=catalog,
        projects=load_projects() if "project" in subjects else None,
        global_scopes=load_global_scopes() if "globallimits" in subjects else None,
        keys=ChangedKeys(
            *(frozenset(subjects.get(subject, ())) for subject in ("virtualkey", "account", "team", "project", "tier"))
        ),
        all_keys=False,
        prices=prices,
    )


def load_global_scopes() -> tuple[Scope, ...]:
    """None or one: in the shape in which admission takes scopes."""
    found = global_scope()
    return (found,) if found is not None else ()
