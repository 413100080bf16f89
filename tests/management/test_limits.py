"""F24, F104: limits and budgets on whatever has them, through the management API."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Sum

from keys.models import COUNTS, Account, GlobalLimits, Project, Team, VirtualKey
from tests.kit.rows import make_key, make_project, new_user

ALL = {
    "rpm": 60,
    "tpm": 100_000,
    "rps": 5,
    "burst": 10,
    "parallel": 3,
    "daily": 1000,
    "max_requests": 50_000,
    "budget": "12.345678",
    "period": "month",
    "soft_threshold": "0.75",
    "time_zone": "Europe/Berlin",
}
ALONE = [name for name in COUNTS if name != "burst"]
"""Those that need no other beside them."""
WRONG = [
    *({name: bad} for name in ALONE for bad in (0, -1, 1.5, "x")),
    *({name: 10**15} for name in ALONE),
    *({name: 10**30} for name in ("rpm", "max_requests", "budget")),
    {"burst": 5},
    {"rps": 5, "burst": 0},
    {"budget": "-0.000001"},
    {"budget": "9000000.000001"},
    {"budget": "0.0000001"},
    {"budget": "NaN"},
    {"budget": "Infinity"},
    {"budget": "much"},
    {"budget": []},
    {"period": "year"},
    {"period": ""},
    {"period": None},
    {"soft_threshold": "1.1"},
    {"soft_threshold": -0.1},
    {"soft_threshold": "0.1234"},
    {"soft_threshold": None},
    {"time_zone": "Mars/Olympus"},
    {"time_zone": "../etc/passwd"},
    {"time_zone": "europe/berlin"},
    {"time_zone": None},
]


@pytest.fixture(scope="module")
def paths(module_db):
    """Of one row of each limited noun."""
    return {
        "keys": f"/api/keys/{make_key('n').pk}",
        "projects": f"/api/projects/{make_project('n').pk}",
        "teams": f"/api/teams/{Team.objects.create(name='n').pk}",
        "users": f"/api/users/{new_user(name='n').account.public_id}",
        "limits/global": "/api/limits/global",
    }


@pytest.fixture(params=["keys", "projects", "teams", "users", "limits/global"])
def limited(request, db, paths):
    return paths[request.param]


def test_every_limit_is_set_shown_and_taken_away(api, limited):
    answer = api.patch(limited, ALL)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ALL} == ALL
    assert api.get(limited).json() == answer.json()
    none = {name: None for name in ALL if name not in ("period", "soft_threshold", "time_zone")}
    cleared = api.patch(limited, {**none, "period": "total", "time_zone": ""}).json()
    assert {name: cleared[name] for name in none} == none


def test_what_is_not_said_is_no_limit(api, limited):
    shown = api.get(limited).json()
    unlimited = (*COUNTS, "budget")
    assert [shown[name] for name in unlimited] == [None] * len(unlimited)
    assert (shown["period"], shown["soft_threshold"], shown["time_zone"]) == ("total", "0.8", "")
    assert (shown["spent"], shown["remaining"], shown["resets_at"]) == (None, None, None)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_no_limit_can_be_is_400_and_named(api, limited, wrong):
    answer = api.patch(limited, wrong)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) <= set(wrong)
    assert api.get(limited).json()["rpm"] is None


def test_the_rate_of_a_burst_is_not_taken_from_under_it(api, limited):
    api.patch(limited, {"rps": 5, "burst": 10})
    assert api.patch(limited, {"rps": None}).status_code == 400
    assert api.patch(limited, {"rps": None, "burst": None}).status_code == 200


@pytest.mark.parametrize("budget", [0, "0", 0.1, "0.000001", "9000000", 25])
def test_a_budget_comes_back_to_the_last_place(api, limited, budget):
    assert Decimal(api.patch(limited, {"budget": budget}).json()["budget"]) == Decimal(str(budget))
    assert Decimal(api.get(limited).json()["budget"]) == Decimal(str(budget))


def test_budgets_add_up_exactly(db):
    for number in range(10):
        make_project(f"p{number}", budget=Decimal("0.1"))
    make_project("most", budget=Decimal("8000000.000001"))
    total = Project.objects.aggregate(total=Sum("budget"))["total"]
    assert total == Decimal("8000001.000001")
    assert Project.objects.filter(budget=Decimal("0.1")).count() == 10
    assert Project.objects.filter(budget__gt=Decimal("0.1")).count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"rpm": 0},
        {"tpm": 10**14},
        {"burst": 5},
        {"budget": Decimal(-1)},
        {"budget": Decimal(9_000_001)},
        {"period": "year"},
        {"soft_threshold": Decimal("1.5")},
    ],
    ids=str,
)
def test_the_database_itself_refuses_what_no_limit_can_be(db, make_user, wrong):
    make_key()
    Team.objects.create(name="t")
    GlobalLimits.objects.create()
    make_user()
    for model in (VirtualKey, Project, Team, Account, GlobalLimits):
        with pytest.raises(IntegrityError), transaction.atomic():
            model.objects.update(**wrong)


def test_there_is_one_row_of_global_limits(db):
    GlobalLimits.current().change(rpm=5)
    GlobalLimits.current().change(tpm=7)
    assert GlobalLimits.objects.values_list("rpm", "tpm").get() == (5, 7)
    with pytest.raises(IntegrityError), transaction.atomic():
        GlobalLimits.objects.create(pk=2)


def test_a_limit_that_another_command_wrote_meanwhile_stays(db):
    make_project("p")
    mine, theirs = (Project.objects.get(name="p") for _ in range(2))
    theirs.change(rpm=5)
    mine.change(tpm=7)
    assert Project.objects.values_list("rpm", "tpm").get(name="p") == (5, 7)


def test_defaults_for_new_keys_are_for_what_is_not_said(api, settings):
    settings.KEY_DEFAULT_BUDGET, settings.KEY_DEFAULT_TPM, settings.KEY_DEFAULT_RPM = Decimal("2.5"), 1000, 10
    told = api.post("/api/keys", {"name": "a"}).json()
    assert (told["budget"], told["tpm"], told["rpm"]) == ("2.500000", 1000, 10)
    told = api.post("/api/keys", {"name": "b", "budget": None, "tpm": 5}).json()
    assert (told["budget"], told["tpm"], told["rpm"]) == (None, 5, 10)


def test_a_wrong_setting_of_a_model_is_told_by_the_field(db):
    with pytest.raises(ValidationError) as refused:
        make_key(time_zone="Nowhere", budget=Decimal("0.0000001"))
    assert set(refused.value.error_dict) == {"time_zone", "budget"}
