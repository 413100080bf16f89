"""F105: prices in the management API, the admin and the command line."""

from __future__ import annotations

import json
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from proxy.configuration.changes import current_version
from proxy.models import ConfigChange
from tests.kit.rows import TOKEN, make_provider
from usage.models import PriceOverride

MINI = "gpt-4.1-mini"
PRICE = {"provider": "up", "model": MINI, "input": "0.123456", "output": "2.5"}
EFFECTIVE = f"/api/prices/effective?provider=up&model={MINI}"


def test_a_price_is_made_read_changed_and_deleted(api):
    make_provider("up")
    made = api.post("/api/prices", {**PRICE, "cached_input": "0.1", "valid_from": "2026-01-01T00:00:00Z"})
    assert made.status_code == 201
    assert made.json()["input"] == "0.123456"
    path = f"/api/prices/{made.json()['id']}"
    assert api.get(path).json() == made.json()
    assert api.patch(path, {"output": "3"}).json()["output"] == "3.000000"
    assert [row["id"] for row in api.get("/api/prices?provider=up").json()["results"]] == [made.json()["id"]]
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_each_change_leaves_a_note_for_every_process(api):
    make_provider("up")
    before = current_version()
    path = f"/api/prices/{api.post('/api/prices', PRICE).json()['id']}"
    api.patch(path, {"input": "1"})
    api.delete(path)
    notes = ConfigChange.objects.filter(pk__gt=before).values_list("subject", flat=True)
    assert list(notes) == ["priceoverride"] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": "-1"}, {"input": "0.1234567"}, {"input": "1000000"}, {"input": "NaN"}, {"input": None},
        {"model": ""}, {"model": "a\tb"}, {"per_request": "-0.1"}, {"valid_from": "soon"}, {"output": "1e99"},
    ],
)  # fmt: skip
def test_what_is_no_price_is_refused(api, wrong):
    make_provider("up")
    answer = api.post("/api/prices", {**PRICE, **wrong})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, list(wrong))
    assert not PriceOverride.objects.exists()


@pytest.mark.parametrize("start", [{}, {"valid_from": "2026-01-01T00:00:00Z"}])
def test_a_second_price_of_the_same_start_is_a_conflict(api, start):
    make_provider("up")
    assert api.post("/api/prices", {**PRICE, **start}).status_code == 201
    again = api.post("/api/prices", {**PRICE, **start})
    assert (again.status_code, again.json()["code"]) == (409, "duplicate_price")


def test_the_price_in_force_says_where_it_comes_from(api):
    provider = make_provider("up", base_url="https://api.openai.com/v1", model_map={"fast": MINI})
    listed = api.get(EFFECTIVE).json()
    assert (listed["price_source"], listed["input"], listed["cached_input"]) == ("genai-prices", "0.400000", "0.100000")
    fast = api.get("/api/prices/effective?provider=up&model=fast").json()
    assert (fast["model_served"], fast["output"]) == (MINI, "1.600000")
    api.post("/api/prices", PRICE)
    overridden = api.get(EFFECTIVE).json()
    assert (overridden["price_source"], overridden["input"]) == ("override", "0.123456")
    assert overridden["reasoning"] == overridden["output"] == "2.500000"
    PriceOverride.objects.all().delete()
    provider.change(base_url="http://127.0.0.1:1/v1")
    unknown = api.get(EFFECTIVE).json()
    assert (unknown["price_source"], unknown["input"], unknown["per_request"]) == ("unknown", None, None)


def test_tiers_are_told_with_the_prompt_that_they_begin_above(api):
    make_provider("up", base_url="https://api.openai.com/v1")
    tiers = api.get("/api/prices/effective?provider=up&model=gpt-5.5").json()["tiers"]
    assert [tier["above_prompt_tokens"] for tier in tiers] == [272_000]


def test_an_unknown_provider_or_a_missing_question_is_refused(api):
    assert api.get("/api/prices/effective?provider=nobody&model=m").status_code == 404
    assert api.get("/api/prices/effective?provider=up").status_code == 400


def test_the_admin_adds_and_lists_a_price(admin):
    make_provider("up")
    form = {"provider": "up", "model": "m-*", "input": "1", "output": "2", "per_request": "0"}
    assert admin.post("/admin/usage/priceoverride/add/", form).status_code == 302
    row = PriceOverride.objects.get()
    assert (row.model, row.input) == ("m-*", Decimal(1))
    assert "m-*" in admin.get("/admin/usage/priceoverride/").content.decode()
    assert admin.get(f"/admin/usage/priceoverride/{row.pk}/change/").status_code == 200


@pytest.fixture(params=["local", "remote"])
def run(request, transactional_db):
    remote = ("--api-url", request.getfixturevalue("live_server").url, "--token", TOKEN)

    def call(*arguments: str):
        out = StringIO()
        call_command("prices", *arguments, *(remote if request.param == "remote" else ()), "--json", stdout=out)
        return json.loads(out.getvalue())

    return call


def test_the_command_sets_shows_lists_and_deletes(run):
    make_provider("up")
    made = run("set", "--provider", "up", "--model", MINI, "--input", "1", "--output", "2", "--per-request", "0.01")
    changed = run("set", "--provider", "up", "--model", MINI, "--cached-input", "0.25")
    assert (changed["id"], changed["input"], changed["cached_input"]) == (made["id"], "1.000000", "0.250000")
    later = ("set", "--provider", "up", "--model", MINI, "--input", "9", "--output", "9")
    dated = run(*later, "--valid-from", "2100-01-01T00:00:00Z")
    assert dated["id"] != made["id"] == run("set", "--provider", "up", "--model", MINI, "--input", "3")["id"]
    assert run(*later, "--valid-from", "2100-01-01T01:00:00+01:00")["id"] == dated["id"]
    shown = run("show", "--provider", "up", "--model", MINI)
    assert (shown["price_source"], shown["input"]) == ("override", "3.000000")
    assert len(run("list")["results"]) == 2
    with pytest.raises(CommandError, match="There are 2 such prices"):
        run("delete", "--provider", "up", "--model", MINI)
    assert run("delete", "--id", str(dated["id"]))["id"] == dated["id"]
    run("delete", "--provider", "up", "--model", MINI)
    assert run("list")["results"] == []
