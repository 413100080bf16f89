"""F44, F47, F108: requests, alerts and the audit log are read from the command line, here and on another Sluice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.core.management import CommandError

from tests.kit.rows import make_alert, make_key, make_project, make_record

pytestmark = pytest.mark.django_db(transaction=True)


def ids(document):
    return [row["id"] for row in document["results"]]


@pytest.fixture
def requests():
    project = make_project("team")
    make_record("r1", created_at=datetime(2026, 11, 20, 12, tzinfo=UTC), key_id=make_key("ci").pk, response_id="resp_1")
    make_record(
        "r2",
        created_at=datetime(2026, 11, 20, 13, tzinfo=UTC),
        project_id=project.pk,
        provider="other",
        model="o4",
        stream=True,
        status_code=429,
        outcome="refused",
        correlation_id="c-2",
    )


@pytest.mark.parametrize(
    "options,found",
    [
        ((), ["r2", "r1"]),
        (("--project", "team"), ["r2"]),
        (("--provider", "other", "--model", "o4"), ["r2"]),
        (("--status-code", "200"), ["r1"]),
        (("--outcome", "refused"), ["r2"]),
        (("--stream", "true"), ["r2"]),
        (("--stream", "false"), ["r1"]),
        (("--response-id", "resp_1"), ["r1"]),
        (("--correlation-id", "c-2"), ["r2"]),
        (("--search", "gpt-4"), ["r1"]),
        (("--endpoint", "/v1/embeddings"), []),
        (("--limit", "1"), ["r2"]),
        (("--limit", "0"), ["r2", "r1"]),
    ],
    ids=lambda value: " ".join(value) or "all",
)
def test_requests_are_listed_and_filtered(run, requests, options, found):
    assert ids(run.json("requests", "list", *options)) == found


def test_requests_are_filtered_by_what_made_them(run, requests):
    [row] = run.json("requests", "list", "--key", str(run.json("keys", "show", "--name", "ci")["id"]))["results"]
    assert row["key_name"] == "ci"
    assert run.json("requests", "show", "--id", "r1") == row


def test_requests_are_shown_to_people(run, requests):
    head, *lines = run("requests", "list").splitlines()
    assert head.split()[:3] == ["ID", "CREATED_AT", "KEY_NAME"]
    assert [line.split()[0] for line in lines] == ["r2", "r1"]
    assert "resp_1" in run("requests", "show", "--id", "r1")


def test_a_bound_on_rows_holds_over_pages(run, monkeypatch):
    monkeypatch.setattr("keys.api.pagination.MAX_PAGE_SIZE", 2)
    for number in range(5):
        make_alert(ident=str(number))
    listed = run.json("alerts", "list", "--limit", "3")
    assert [row["scope_id"] for row in listed["results"]] == ["4", "3", "2"]
    assert len(run.json("audit", "list", "--limit", "0")["results"]) == 0
    for number in range(5):
        make_project(f"p{number}")
    assert len(run.json("audit", "list", "--limit", "3")["results"]) == 3


@pytest.mark.parametrize(
    "options,found",
    [
        ((), ["b", "a"]),
        (("--level", "budget"), ["b"]),
        (("--scope", "key", "--scope-id", "1"), ["a"]),
        (("--created-after", "2026-11-20T13:00:00Z"), ["b"]),
        (("--created-before", "2026-11-20T13:00:00Z"), ["a"]),
        (("--limit", "1"), ["b"]),
    ],
    ids=lambda value: " ".join(value) or "all",
)
def test_alerts_are_listed_and_filtered(run, options, found):
    make_alert(name="a")
    make_alert(name="b", level="budget", kind="team", created_at=datetime(2026, 11, 20, 14, tzinfo=UTC))
    assert [row["name"] for row in run.json("alerts", "list", *options)["results"]] == found
    assert [line.split()[4] for line in run("alerts", "list", *options).splitlines()[1:]] == found


@pytest.mark.parametrize(
    "arguments,reason",
    [
        (("requests", "show", "--id", "nothing"), "There is no request"),
        (("requests", "show", "--id", "../keys"), "not a request's id"),
        (("requests", "list", "--key", "ci"), "key: "),
        (("requests", "list", "--created-after", "yesterday"), "created_after: "),
        (("requests", "list", "--outcome", "sad"), "invalid choice"),
        (("alerts", "list", "--scope", "cat"), "invalid choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_question_is_refused(run, arguments, reason):
    with pytest.raises(CommandError, match=reason):
        run(*arguments)
