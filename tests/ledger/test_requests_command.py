"""`manage.py requests`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests.kit.events import event, written_ids
from usage.ledger import partitions
from usage.ledger.write import write_events

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(capsys):
    def run(*arguments: str) -> Any:
        call_command("requests", *arguments, "--json")
        return json.loads(capsys.readouterr().out)

    return run


def test_prune_goes_by_the_setting_or_by_what_is_said(run, settings):
    old, new = (event(datetime.now(UTC) - timedelta(days=days)) for days in (90, 0))
    write_events([old, new])
    assert run("prune") == {"partitions": [], "rows": 0}
    assert len(written_ids()) == 2
    settings.REQUEST_RETENTION_DAYS = 80
    assert run("prune") == {"partitions": [], "rows": 1}
    assert written_ids() == [new.id]


def test_partitions_are_made_and_listed(run):
    found = run("partitions")["results"]
    if connection.vendor == "sqlite":
        assert found == []
        return
    now = datetime.now(UTC).isoformat()
    assert sum(each["first"] <= now < each["end"] for each in found) == 1
    assert len([each for each in found if each["first"] > now]) >= 4


@pytest.mark.parametrize("days", ["0", "-1", "soon", "99999"])
def test_days_that_are_none_are_refused(days):
    with pytest.raises(CommandError):
        call_command("requests", "prune", "--days", days)


def test_another_sluices_table_is_not_touched():
    with pytest.raises(CommandError, match="where it is"):
        call_command("requests", "prune", "--api-url", "http://127.0.0.1:1", "--token", "x")


def test_a_table_in_use_is_told_of(monkeypatch):
    def busy(*_: object) -> None:
        raise partitions.TableBusy("usage_requestrecord was in use")

    monkeypatch.setattr(partitions, "make_ahead", busy)
    with pytest.raises(CommandError, match="was in use"):
        call_command("requests", "partitions")
