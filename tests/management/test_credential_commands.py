"""F47, F51: credentials from the command line, here and on another Sluice. A secret goes in and never comes out."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError

from providers.models import Credential
from tests.kit.rows import SECRET, make_credential, make_provider

pytestmark = pytest.mark.django_db(transaction=True)


NEW_SECRET = "sk-another-secret-9876543210"


@pytest.fixture(autouse=True)
def _secrets_in_the_environment(monkeypatch):
    monkeypatch.setenv("UPSTREAM_SECRET", SECRET)
    monkeypatch.setenv("NEW_SECRET", NEW_SECRET)


def test_credentials_are_created_listed_shown_updated_and_deleted(run):
    up = make_provider("up")
    made = run.json("credentials", "create", "--alias", "a", "--provider", "up", "--secret-env", "UPSTREAM_SECRET")
    row = Credential.objects.get()
    assert (row.alias, row.provider, row.secret) == ("a", up, SECRET)
    assert (made["id"], made["provider_name"], made["mask"], made["usable"]) == (row.pk, "up", "…6789", True)
    assert run.json("credentials", "list")["results"] == [made]
    assert (
        run.json("credentials", "show", "--alias", "a") == run.json("credentials", "show", "--id", str(row.pk)) == made
    )
    changed = run.json(
        "credentials", "update", "--alias", "a", "--rename", "b", "--unbind", "--secret-env", "NEW_SECRET"
    )
    assert (changed["alias"], changed["provider"], changed["mask"]) == ("b", None, "…3210")
    assert Credential.objects.get().secret == NEW_SECRET
    assert run.json("credentials", "update", "--alias", "b", "--bind", "up")["provider_name"] == "up"
    assert Credential.objects.get().secret == NEW_SECRET
    assert run.json("credentials", "delete", "--alias", "b")["id"] == row.pk
    assert not Credential.objects.exists()


def test_a_secret_is_read_from_standard_input(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO(f"{SECRET}\n"))
    run("credentials", "create", "--alias", "a", "--secret", "-")
    assert Credential.objects.get().secret == SECRET
    monkeypatch.setattr("sys.stdin", StringIO(f"{NEW_SECRET}\n"))
    run("providers", "create", "--name", "up", "--base-url", "http://up/v1", "--api-key", "-")
    assert Credential.objects.get(provider__name="up").secret == NEW_SECRET


def test_no_command_prints_a_secret(run):
    credential = ("credentials", "show", "--alias", "a")
    told = [
        run("credentials", "create", "--alias", "a", "--secret", SECRET),
        *(run(*credential, *more) for more in ((), ("--json",))),
        *(run("credentials", "list", *more) for more in ((), ("--json",))),
        run("credentials", "update", "--alias", "a", "--secret", NEW_SECRET),
        run("credentials", "delete", "--alias", "a"),
    ]
    assert "…6789" in told[1]
    assert [text for text in told if SECRET in text or NEW_SECRET in text] == []


def test_an_alias_at_two_places_has_to_be_told_apart(run):
    make_credential("a")
    bound = make_credential("a", provider=make_provider("up"))
    with pytest.raises(CommandError, match="2 of alias 'a'; say which one with --id or --provider"):
        run("credentials", "delete", "--alias", "a")
    assert run.json("credentials", "list", "--alias", "a", "--provider", "up")["results"][0]["id"] == bound.pk
    run("credentials", "delete", "--alias", "a", "--provider", "up")
    assert Credential.objects.get().provider is None


@pytest.mark.parametrize(
    "arguments,reason",
    [
        (("create", "--alias", "taken", "--secret", SECRET), "exists already"),
        (("create", "--alias", "A b", "--secret", SECRET), "alias: "),
        (("create", "--alias", "a", "--secret", "****"), "secret: This is a mask"),
        (("create", "--alias", "a", "--secret", SECRET, "--provider", "nowhere"), "no provider named 'nowhere'"),
        (("create", "--alias", "a", "--secret-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE is not set"),
        (("create", "--alias", "a", "--secret", "-"), "Standard input has no secret"),
        (("list", "--provider", "nowhere"), "no provider named 'nowhere'"),
        (("show", "--alias", "nobody"), "no such credential of alias 'nobody'"),
        (("show", "--id", "99999"), "There is no credential"),
        (("update", "--alias", "taken", "--bind", "nowhere"), "no provider named 'nowhere'"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_a_refusal_is_one_clear_line_without_the_secret(run, monkeypatch, arguments, reason):
    monkeypatch.setattr("sys.stdin", StringIO(""))
    make_credential("taken")
    with pytest.raises(CommandError) as refused:
        run("credentials", *arguments)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.returncode == 1
