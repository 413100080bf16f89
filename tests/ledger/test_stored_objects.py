"""X59: who made what providers keep is written with the requests, and forgotten when nobody uses it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.kit.events import NOW, event
from usage.ledger.retention import prune_requests
from usage.ledger.stored import find_owners
from usage.ledger.write import write_events
from usage.models import StoredObject

pytestmark = pytest.mark.django_db(transaction=True)


def write_use(project: int | None, *made: str, days_ago: float = 0, provider: str = "p") -> None:
    at = NOW - timedelta(days=days_ago)
    assert write_events([event(at, project=project, provider=provider, credential="c", made=made)])


def test_each_project_finds_its_own_first():
    write_use(1, "file-1", "file-2", provider="one")
    write_use(2, "file-2", "file-2", provider="two")
    write_use(None, "file-3")
    for project, provider in ((1, "one"), (2, "two")):
        made = find_owners(["file-2"], project)["file-2"]
        assert (made.provider, made.credential, made.project_id) == (provider, "c", project)
    assert find_owners(["file-1"], 2)["file-1"].project_id == 1
    assert find_owners(["file-3", "file-4"], None)["file-3"].project_id is None


def test_what_nobody_uses_is_forgotten_with_the_rows(settings):
    settings.REQUEST_RETENTION_DAYS = 30
    write_use(1, "file-old", "file-used", days_ago=40)
    write_use(1, "file-used", days_ago=20)
    assert StoredObject.objects.count() == 2
    prune_requests(NOW, days=1)
    assert StoredObject.objects.count() == 2
    prune_requests(NOW)
    assert [row.object_id for row in StoredObject.objects.all()] == ["file-used"]
