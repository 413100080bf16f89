"""F47: limits, teams, tiers, users and validation from the command line, here and on another Sluice."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError

from keys.models import GlobalLimits, Project, Team, Tier, VirtualKey
from tests.kit.rows import make_key, make_project

pytestmark = pytest.mark.django_db(transaction=True)


OPTIONS = (
    *("--rpm", "60", "--tpm", "1000", "--rps", "5", "--burst", "9", "--parallel", "3", "--daily", "100"),
    *("--max-requests", "1000", "--budget", "12.5", "--period", "month", "--soft-threshold", "0.9"),
    *("--time-zone", "Europe/Berlin"),
)
SET = {
    "rpm": 60,
    "tpm": 1000,
    "rps": 5,
    "burst": 9,
    "parallel": 3,
    "daily": 100,
    "max_requests": 1000,
    "budget": "12.500000",
    "period": "month",
    "soft_threshold": "0.9",
    "time_zone": "Europe/Berlin",
}


def limits_in(row):
    return {name: row[name] for name in SET}


def test_a_key_is_minted_and_updated_with_every_limit(run):
    User.objects.create_user("ann")
    Team.objects.create(name="crew")
    more = ("--owner", "ann", "--team", "crew", "--metadata", '{"a": 1}')
    key = run.json("keys", "mint", "--name", "ci", *OPTIONS, *more)
    assert limits_in(key) == SET
    assert (key["team_name"], key["metadata"]) == ("crew", {"a": 1})
    assert run.json("keys", "list", "--owner", "ann", "--team", "crew")["results"][0]["id"] == key["id"]
    assert run.json("keys", "list", "--team", "other")["results"] == []
    cleared = run.json(
        *("keys", "update", "--name", "ci", "--rpm", "none", "--budget", "none", "--team", "none", "--owner", "none"),
        *("--expires-days", "none"),
    )
    assert [cleared[name] for name in ("rpm", "budget", "team", "owner", "expires_at")] == [None] * 5
    assert cleared["tpm"] == 1000


def test_a_rotation_with_grace_keeps_the_old_token_for_a_while(run):
    old = run.json("keys", "mint", "--name", "ci")["key"]
    new = run.json("keys", "rotate", "--name", "ci", "--grace", "60")["key"]
    for token in (old, new):
        assert run.json("keys", "validate", "--key", token)["valid"] is True
    assert "60 seconds more" in run("keys", "rotate", "--name", "ci", "--grace", "60")


def test_a_refused_key_is_exit_1_and_still_one_document(run, capsys):
    with pytest.raises(CommandError, match="invalid_api_key") as refused:
        run("keys", "validate", "--key", "nonsense")
    assert refused.value.returncode == 1


def test_the_document_of_a_refused_key_is_printed_with_json(db):
    from io import StringIO

    from django.core.management import call_command

    out = StringIO()
    with pytest.raises(CommandError):
        call_command("keys", "validate", "--key", "nonsense", "--json", stdout=out)
    assert json.loads(out.getvalue())["error"] == "invalid_api_key"


def test_usage_of_a_key_is_shown(run):
    make_key("ci", budget=5)
    assert run.json("keys", "usage", "--name", "ci", "--days", "7")["budget"] == "5.000000"
    with pytest.raises(CommandError, match="days"):
        run("keys", "usage", "--name", "ci", "--days", "366")


def test_projects_and_teams_take_every_limit(run):
    User.objects.create_user("ann")
    for noun, more in (("projects", ()), ("teams", ("--members", "ann"))):
        made = run.json(noun, "create", "--name", "n", *OPTIONS, *more)
        assert limits_in(made) == SET
        assert run.json(noun, "update", "--name", "n", "--burst", "none", "--rps", "none")["rps"] is None
        assert run.json(noun, "show", "--id", str(made["id"]))["budget"] == "12.500000"
        assert "n" in run(noun, "list")
        assert run.json(noun, "delete", "--name", "n")["id"] == made["id"]
    assert not Project.objects.exists()
    assert not Team.objects.exists()


def test_a_team_in_use_is_not_deleted(run):
    make_key(team=Team.objects.create(name="crew"))
    with pytest.raises(CommandError, match="still in use"):
        run("teams", "delete", "--name", "crew")


def test_tiers_and_users_are_managed(run, monkeypatch):
    monkeypatch.setenv("NEW_PASSWORD", "long enough")
    tier = run.json("tiers", "create", "--name", "gold", "--daily-embeddings", "7", "--compute", "local")
    assert run.json("tiers", "list")["results"][0] == tier
    made = run.json("users", "create", "--email", "a@example.org", "--tier", "gold", "--password-env", "NEW_PASSWORD")
    assert User.objects.get().check_password("long enough")
    assert run.json("users", "show", "--id", made["id"]) == made
    changed = run.json("users", "update", "--name", "a@example.org", "--deactivate", *OPTIONS)
    assert (limits_in(changed), changed["is_active"]) == (SET, False)
    assert "a@example.org" in run("users", "list")
    with pytest.raises(CommandError, match="still in use"):
        run("tiers", "delete", "--name", "gold")
    run("users", "update", "--id", made["id"], "--tier", Tier.default().name)
    run("tiers", "delete", "--name", "gold")
    assert not Tier.objects.filter(name="gold").exists()


def test_a_password_that_is_not_there_makes_no_user(run):
    with pytest.raises(CommandError, match="NO_SUCH_VARIABLE"):
        run("users", "create", "--email", "a@example.org", "--password-env", "NO_SUCH_VARIABLE")
    assert not User.objects.exists()


def test_what_is_refused_halfway_leaves_nothing_behind(run):
    with pytest.raises(CommandError, match="burst"):
        run("users", "create", "--email", "a@example.org", "--burst", "5")
    assert not User.objects.exists()


def test_global_limits_are_set_and_shown(run):
    assert limits_in(run.json("limits", "set", *OPTIONS)) == SET
    assert limits_in(run.json("limits", "show")) == SET
    run("limits", "set", "--rpm", "none")
    assert GlobalLimits.objects.get().rpm is None


def test_the_configuration_has_a_version_and_is_read_anew(run):
    before = run.json("configuration", "version")
    assert run.json("configuration", "reload")["version"] > before["version"]


@pytest.mark.parametrize(
    "arguments,reason",
    [
        (("keys", "mint", "--name", "k", "--rpm", "0"), "rpm:"),
        (("keys", "mint", "--name", "k", "--budget", "-1"), "budget:"),
        (("keys", "mint", "--name", "k", "--burst", "5"), "burst:"),
        (("keys", "mint", "--name", "k", "--time-zone", "Mars"), "no time zone 'Mars'"),
        (("keys", "mint", "--name", "k", "--team", "nil"), "no team 'nil'"),
        (("keys", "mint", "--name", "k", "--owner", "nil"), "no user 'nil'"),
        (("keys", "mint", "--name", "k", "--max-requests", "9999999999999999"), "max_requests:"),
        (("limits", "set", "--soft-threshold", "2"), "soft_threshold:"),
        (("users", "show", "--name", "nobody"), "no user named"),
        (("users", "create", "--email", "nonsense"), "email:"),
    ],
    ids=lambda value: " ".join(value[3:]) if isinstance(value, tuple) else "",
)
def test_a_refusal_is_one_line_with_the_reason(run, arguments, reason):
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert reason in str(refused.value)
    assert refused.value.returncode == 1
    assert not VirtualKey.objects.exists()


def test_all_keys_of_a_project_are_revoked_with_their_grace(run):
    project = make_project("leaving")
    old = run.json("keys", "mint", "--name", "a", "--project", "leaving")["key"]
    run("keys", "rotate", "--name", "a", "--project", "leaving", "--grace", "60")
    assert run.json("keys", "revoke", "--project", str(project.pk), "--all") == {"revoked": 1}
    with pytest.raises(CommandError, match="key_revoked"):
        run("keys", "validate", "--key", old)
