"""What the data plane knows of limits: every scope of a key, and every change of one within a second (P16)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from msgspec.structs import astuple

from keys.limits.scope import Limits
from keys.models import Account, GlobalLimits, Project, Team, Tier, VirtualKey
from keys.records import load_keys
from tests.kit.rows import key_record, make_key
from tests.kit.snapshots import hear, in_a_loop, running

pytestmark = pytest.mark.django_db(transaction=True)


def test_scopes_are_those_that_are_limited_the_nearest_first():
    owner, team = User.objects.create_user("ann"), Team.objects.create(name="crew", tpm=5)
    project = Project.objects.create(name="p", daily=7)
    Account.of(owner).change(budget=Decimal("1.5"), period="day", time_zone="Europe/Berlin")
    key = make_key(owner=owner, team=team, project=project, rpm=3, rps=1, burst=2)
    assert [astuple(scope) for scope in key_record(key).scopes] == [
        ("key", str(key.pk), "key 'k'", Limits(rpm=3, rps=1, burst=2)),
        (
            "user",
            str(owner.pk),
            f"user {Account.objects.get(user=owner).public_id}",
            Limits(budget=1_500_000_000_000, period="day", time_zone="Europe/Berlin"),
        ),
        ("team", str(team.pk), "team 'crew'", Limits(tpm=5)),
        ("project", str(project.pk), "project 'p'", Limits(daily=7)),
    ]
    assert key_record(make_key("bare", owner=User.objects.create_user("bob"))).scopes == ()


def test_a_budget_of_nothing_is_a_limit_and_no_zone_is_the_settings(settings: Any):
    settings.BUDGET_TIME_ZONE = "Asia/Tokyo"
    [scope] = key_record(make_key(budget=Decimal(0))).scopes
    assert (scope.limits.budget, scope.limits.time_zone) == (0, "Asia/Tokyo")


def test_many_keys_are_loaded_in_one_query():
    team = Team.objects.create(name="t", rpm=1)
    ids = [make_key(f"k{n}", owner=User.objects.create_user(f"u{n}"), team=team).public_id for n in range(5)]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = load_keys(ids)
    assert (len(found), len(queries)) == (5, 1)
    shared = [key.scopes[0] for key, _ in found.values()]
    assert all(scope is shared[0] for scope in shared)


def test_an_owner_without_an_account_is_no_error():
    [owner] = User.objects.bulk_create([User(username="bulk")])
    found = key_record(make_key(owner=owner))
    assert (found.scopes, found.tier) == ((), None)


def test_tiers_come_with_the_key():
    owner = User.objects.create_user("ann")
    tier = key_record(make_key(owner=owner)).tier
    assert tier is not None
    assert (tier.name, tier.daily_embeddings, tier.compute) == ("free", 1000, "byok")


def test_a_change_of_any_scope_is_heard_and_other_keys_stay():
    owner, team = User.objects.create_user("ann"), Team.objects.create(name="crew")
    project = Project.objects.create(name="p")
    key, other = make_key(owner=owner, team=team, project=project), make_key("other")
    changes: list[tuple[str, Callable[[], object]]] = [
        ("key", lambda: VirtualKey.objects.get(pk=key.pk).change(rpm=2)),
        ("user", lambda: Account.objects.get(pk=owner.pk).change(rpm=3)),
        ("team", lambda: Team.objects.get().change(rpm=4)),
        ("project", lambda: Project.objects.get(pk=project.pk).change(rpm=5)),
    ]

    async def work() -> None:
        async with running() as snapshot:
            assert (await snapshot.find_key(other.public_id)) is not None
            for kind, change in changes:
                assert (await snapshot.find_key(key.public_id)) is not None
                assert snapshot.cached_key(key.public_id) is not None
                await hear(snapshot, change)
                assert snapshot.cached_key(key.public_id) is None
                again = await snapshot.find_key(key.public_id)
                assert again is not None
                assert kind in {scope.kind for scope in again.scopes}
                assert snapshot.cached_key(other.public_id) is not None
            assert snapshot.projects[project.pk].scope is not None
            await hear(snapshot, lambda: GlobalLimits.current().change(parallel=9))
            [everybody] = snapshot.global_scopes
            assert (everybody.kind, everybody.limits.parallel) == ("global", 9)
            await hear(snapshot, lambda: GlobalLimits.current().change(parallel=None))
            assert snapshot.global_scopes == ()

    in_a_loop(work)


def test_a_change_of_a_tier_and_of_an_accounts_tier_is_heard():
    owner = User.objects.create_user("ann")
    Tier.objects.get_or_create(name="paid", defaults={"daily_embeddings": 50_000, "compute": "local"})
    key = make_key(owner=owner)

    async def work() -> None:
        async with running() as snapshot:
            for change, quota in (
                (lambda: Account.objects.get().change(tier=Tier.objects.get(name="paid")), 50_000),
                (lambda: Tier.objects.get(name="paid").change(daily_embeddings=7), 7),
            ):
                await snapshot.find_key(key.public_id)
                await hear(snapshot, change)
                found = await snapshot.find_key(key.public_id)
                assert found is not None
                assert found.tier is not None
                assert found.tier.daily_embeddings == quota

    in_a_loop(work)


def test_both_public_ids_of_a_rotated_key_are_forgotten_with_it():
    key = make_key()
    old = key.public_id
    key.rotate(60)

    async def work() -> None:
        async with running() as snapshot:
            for public_id in (old, key.public_id):
                found = await snapshot.find_key(public_id)
                assert found is not None
                assert (found.id, found.grace_until is not None) == (key.pk, public_id == old)
            await hear(snapshot, lambda: VirtualKey.objects.get().change(notes="n"))
            assert snapshot.cached_key(old) is snapshot.cached_key(key.public_id) is None

    in_a_loop(work)


def test_the_oldest_keys_make_room_without_a_trace(settings: Any):
    settings.KEY_CACHE_SIZE = 3
    rows = [make_key(f"k{n}") for n in range(5)]

    async def work() -> None:
        async with running() as snapshot:
            for row in rows:
                await snapshot.find_key(row.public_id)
            known = [row.pk for row in rows if snapshot.cached_key(row.public_id)]
            assert known == [row.pk for row in rows[2:]]
            assert set(snapshot._public_ids) == set(known)

    in_a_loop(work)
