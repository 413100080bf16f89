"""`GET /api/usage/budgets`, and `manage.py usage`."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from keys.models import Account, GlobalLimits, Team
from tests.kit.rows import make_key, make_project
from usage.event import RequestEvent
from usage.ledger.write import write_events

pytestmark = pytest.mark.django_db
YEAR_S = 365 * 86_400


def spend(cost, ago_s=0, **fields):
    at = datetime.now(UTC).timestamp() - ago_s
    common = ("POST", "/v1/chat/completions", 200, "complete", 2.0)
    write_events(
        [RequestEvent(uuid4().hex, at, *common, provider="up", model="m", cost_picousd=cost, requests=1, **fields)]
    )


@pytest.fixture
def installation(api):
    """A budget of each kind, of which money is spent; and rows without one."""
    owner, team, project = User.objects.create_user("ann"), Team.objects.create(name="red", budget=2), make_project("p")
    team.members.add(owner)
    project.change(budget=1, period="month")
    Account.of(owner).change(budget=4, period="day")
    GlobalLimits.current().change(budget=1000)
    key = make_key("k", owner=owner, team=team, project=project, budget=1)
    make_key("free")
    make_key("gone", budget=1).revoke()
    spend(1_200_000_000_007, key=key.pk, user=owner.pk, team=team.pk, project=project.pk)
    spend(700_000_000_000, ago_s=YEAR_S, user=owner.pk, team=team.pk, project=project.pk)
    return api


def budgets(client, **query):
    answer = client.get("/api/usage/budgets", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_every_budget_is_told_by_the_numbers_that_limits_use(installation):
    rows = {row["kind"]: row for row in budgets(installation)["results"]}
    assert list(rows) == ["global", "key", "project", "team", "user"]
    told = {kind: (row["spent"], row["remaining"], row["crossed"]) for kind, row in rows.items()}
    assert told == {
        "global": ("1.900000000007", "998.099999999993", None),
        "key": ("1.200000000007", "0.000000000000", "budget"),
        "project": ("1.200000000007", "0.000000000000", "budget"),  # last year's is not this month's
        "team": ("1.900000000007", "0.099999999993", "soft_threshold"),
        "user": ("1.200000000007", "2.799999999993", None),
    }
    assert rows["key"] | {"name": "k", "budget": "1.000000", "period": "total", "resets_at": None} == rows["key"]
    assert rows["user"]["name"] == "ann"
    assert datetime.fromisoformat(rows["user"]["resets_at"]) > datetime.now(UTC)
    assert (rows["team"]["percent"], rows["team"]["soft_threshold"]) == (95.0, "0.8")


@pytest.mark.parametrize(
    "spent, crossed, remaining",
    [
        (0, None, "1.000000000000"),
        (799_999_999_999, None, "0.200000000001"),
        (800_000_000_000, "soft_threshold", "0.200000000000"),
        (999_999_999_999, "soft_threshold", "0.000000000001"),
        (1_000_000_000_000, "budget", "0.000000000000"),
        (1_000_000_000_001, "budget", "0.000000000000"),
    ],
)
def test_a_budget_is_crossed_where_exactly_as_much_is_spent(api, spent, crossed, remaining):
    key = make_key("k", budget=1)
    spend(spent, key=key.pk)
    [row] = budgets(api)["results"]
    assert (row["crossed"], row["remaining"]) == (crossed, remaining)


def test_a_page_that_is_just_full_is_the_last_one(api):
    for number in range(3):
        make_key(f"k-{number}", budget=number)
    Team.objects.create(name="t", budget=1)
    pages = [budgets(api, page_size=size) for size in (3, 4, 5)]
    assert [(len(page["results"]), page["next"] is None) for page in pages] == [(3, False), (4, True), (4, True)]
    [last] = api.get(pages[0]["next"]).json()["results"]
    assert last["kind"] == "team"
    assert [row["name"] for row in budgets(api, kind="key", page_size=2)["results"]] == ["k-0", "k-1"]


def test_pages_of_budgets_follow_each_other(installation):
    for number in range(5):
        make_key(f"more-{number}", budget=number)
    whole = budgets(installation)["results"]
    found, answer = [], budgets(installation, page_size=2)
    while answer["next"]:
        found += answer["results"]
        answer = installation.get(answer["next"]).json()
    assert found + answer["results"] == whole
    assert len(whole) == 10
    assert {row["kind"] for row in budgets(installation, kind="key")["results"]} == {"key"}


@pytest.mark.parametrize("query", [{"kind": "cat"}, {"cursor": "cat-1"}, {"cursor": "key"}, {"page_size": 0}])
def test_wrong_questions_are_refused(api, query):
    assert api.get("/api/usage/budgets", query).status_code == 400


def test_users_see_their_own_budgets_and_staff_what_they_may(installation, make_user):
    ann, client = User.objects.get(username="ann"), APIClient()
    client.force_login(ann)
    assert [row["kind"] for row in budgets(client)["results"]] == ["key", "team", "user"]
    client.force_login(make_user(name="bob", is_staff=False))
    assert budgets(client)["results"] == []
    client.force_login(make_user("keys.view_project", name="eve"))
    assert [row["kind"] for row in budgets(client)["results"]] == ["project"]


def output_of(capsys, *args):
    call_command("usage", *args)
    return capsys.readouterr().out


def test_the_command_reports_as_a_table_as_json_and_as_a_file(installation, capsys):
    told = output_of(capsys, "report", "--group-by", "key,model", "--period", "total")
    assert told.splitlines()[0].split()[:3] == ["FROM", "KEY", "MODEL"]
    assert [line.split()[1] for line in told.splitlines()[1:]] == ["k", "-"]
    assert "1.200000000007" in told.splitlines()[-1]
    report = json.loads(output_of(capsys, "report", "--json", "--from", "2020-01-01", "--period", "month"))
    assert report["totals"]["cost_usd"] == "1.900000000007"
    assert len(report["results"]) == 2
    rows = list(
        csv.DictReader(io.StringIO(output_of(capsys, "report", "--csv", "--group-by", "team", "--team", "red")))
    )
    assert [(row["team_name"], row["cost_usd"]) for row in rows] == [("red", "1.200000000007")]


def test_the_command_reports_by_tag_and_of_a_tag(installation, capsys):
    spend(5, tags=("red", "blue"))
    spend(7, tags=("red",))
    by_tag = json.loads(output_of(capsys, "report", "--json", "--group-by", "tag", "--period", "total"))
    assert [(row["tag"], row["requests"]) for row in by_tag["results"]] == [("", 1), ("blue", 1), ("red", 2)]
    of_tag = json.loads(output_of(capsys, "report", "--json", "--group-by", "model", "--tag", "blue"))
    assert [(row["model"], row["cost_usd"]) for row in of_tag["results"]] == [("m", "0.000000000005")]
    assert json.loads(output_of(capsys, "report", "--json", "--tag", ""))["totals"]["requests"] == 1


def test_the_command_tells_of_budgets(installation, capsys):
    told = output_of(capsys, "budgets")
    assert told.splitlines()[0].split()[:3] == ["KIND", "ID", "NAME"]
    assert [line.split()[0] for line in told.splitlines()[1:]] == ["global", "key", "project", "team", "user"]
    assert len(json.loads(output_of(capsys, "budgets", "--kind", "team", "--json"))["results"]) == 1


def test_the_command_refuses_what_the_api_does(db):
    with pytest.raises(CommandError, match="group_by"):
        call_command("usage", "report", "--group-by", "cat")
    with pytest.raises(CommandError, match="csv"):
        call_command("usage", "report", "--csv", "--json")
