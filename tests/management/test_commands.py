"""`manage.py keys|projects|providers`, on this installation and on another one over HTTP."""

from __future__ import annotations

import sys

import pytest
from django.core.management import CommandError

from keys.models import Project, VirtualKey
from keys.tokens import read_token
from providers.models import Credential, Provider
from proxy.configuration.changes import current_version
from tests.kit.environment import ROOT
from tests.kit.rows import SECRET, TOKEN, make_credential, make_key, make_project, make_provider
from tests.kit.services import processes
from tests.kit.terminal import Terminal

pytestmark = pytest.mark.django_db(transaction=True)  # a server in another thread has to see the rows


def test_a_key_is_minted_with_all_its_settings(run):
    make_project("team")
    make_credential("second")
    arguments = ("--project", "team", "--alias", "second", "--models", "gpt-*, o4", "--expires-days", "3", "--rpm", "5")
    key = run.json("keys", "mint", "--name", "ci", *arguments, "--notes", "n", "--tags", "a,b")
    row = VirtualKey.objects.get(pk=key["id"])
    assert row.expires_at is not None
    assert read_token(key["key"], "sk-sluice-").public_id == row.public_id
    assert (row.project.name, row.upstream_alias, row.allowed_models) == ("team", "second", ["gpt-*", "o4"])
    assert (row.rpm, row.notes, row.tags) == (5, "n", ["a", "b"])
    assert (row.expires_at - row.created_at).days in (2, 3)


def test_minting_for_people_prints_the_token_and_says_that_it_is_told_once(run):
    text = run("keys", "mint", "--name", "ci")
    assert "not shown again" in text
    [token] = [line.strip() for line in text.splitlines() if line.startswith("  sk-sluice-")]
    assert read_token(token, "sk-sluice-").public_id == VirtualKey.objects.get().public_id


@pytest.mark.parametrize(
    "arguments,reason",
    [
        (("keys", "mint", "--name", "taken"), "has a key of that name"),
        (("keys", "mint", "--name", "k", "--project", "nowhere"), "no project 'nowhere'"),
        (("keys", "mint", "--name", "k", "--project", "closed"), "inactive"),
        (("keys", "mint", "--name", "k", "--rpm", "0"), "rpm: "),
        (("keys", "list", "--project", "nowhere"), "no project 'nowhere'"),
        (("keys", "show", "--name", "nobody"), "no key named 'nobody'"),
        (("keys", "show", "--id", "99999"), "There is no key '99999'"),
        (("keys", "revoke", "--all", "--project", "nowhere"), "no project 'nowhere'"),
        (("projects", "create", "--name", "closed"), "already exists"),
        (("projects", "delete", "--name", "default"), "in use"),
        (("projects", "show", "--name", "nowhere"), "no project named"),
        (("providers", "create", "--name", "x"), "base_url: "),
        (("providers", "create", "--name", "x", "--base-url", "x"), "base_url: "),
        (("providers", "create", "--name", "x", "--base-url", "http://x/v1", "--api-key", "****"), "api_key: "),
        (("providers", "create", "--name", "x", "--api-key-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE is not set"),
        (("providers", "show", "--name", "nowhere"), "no provider named"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_refusal_is_one_clear_line(run, arguments, reason):
    make_key("taken")
    make_project("closed", is_active=False)
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1


def test_keys_are_listed_shown_updated_rotated_and_revoked(run):
    key = make_key("ci", project=make_project("team"))
    make_key("ci")
    listed = run.json("keys", "list", "--project", "team", "--status", "active")
    assert [row["id"] for row in listed["results"]] == [key.pk]
    assert run.json("keys", "show", "--name", "ci", "--project", "team") == listed["results"][0]
    assert run.json("keys", "update", "--id", str(key.pk), "--rename", "cd", "--deactivate")["status"] == "inactive"
    assert run.json("keys", "rotate", "--name", "cd")["key"].startswith("sk-sluice-")
    assert run.json("keys", "revoke", "--id", str(key.pk))["status"] == "revoked"
    assert "revoked" in run("keys", "list")
    assert "cd" in run("keys", "show", "--id", str(key.pk))
    with pytest.raises(CommandError, match="revoked, for good"):
        run("keys", "rotate", "--id", str(key.pk))


def test_a_name_in_two_projects_has_to_be_told_apart(run):
    make_key("ci")
    make_key("ci", project=make_project("team"))
    with pytest.raises(CommandError, match="--id or --project"):
        run("keys", "revoke", "--name", "ci")
    assert {key.status for key in VirtualKey.objects.all()} == {"active"}


def test_all_keys_of_a_project_are_revoked(run):
    team = make_project("team")
    for name in "ab":
        make_key(name, project=team)
    make_key("stays")
    assert run.json("keys", "revoke", "--project", "team", "--all") == {"revoked": 2}
    assert [key.name for key in VirtualKey.objects.filter(revoked_at=None)] == ["stays"]


def test_a_list_has_all_pages(run, monkeypatch):
    monkeypatch.setattr("keys.api.pagination.MAX_PAGE_SIZE", 3)
    for number in range(7):
        make_key(f"k{number}", tags=["t"])
    listed = run.json("keys", "list", "--project", "default")
    assert [row["name"] for row in listed["results"]] == [f"k{number}" for number in reversed(range(7))]
    assert (listed["next"], listed["previous"]) == (None, None)


def test_a_name_that_a_revoked_key_had_means_the_key_that_has_it_now(run):
    first = run.json("keys", "mint", "--name", "ci")
    run("keys", "revoke", "--name", "ci")
    second = run.json("keys", "mint", "--name", "ci")
    assert run.json("keys", "show", "--name", "ci")["id"] == second["id"]
    assert run.json("keys", "show", "--id", str(first["id"]))["status"] == "revoked"


def test_a_project_is_told_which_bodies_to_keep(run):
    assert run.json("projects", "create", "--name", "team")["capture_bodies"] == "off"
    assert run.json("projects", "update", "--name", "team", "--capture-bodies", "errors")["capture_bodies"] == "errors"


def test_a_project_is_told_what_becomes_of_unmetered_requests(run):
    assert run.json("projects", "create", "--name", "team")["unmetered"] is None
    assert run.json("projects", "update", "--name", "team", "--unmetered", "allow")["unmetered"] == "allow"
    assert run.json("projects", "update", "--name", "team", "--notes", "n")["unmetered"] == "allow"
    assert run.json("projects", "update", "--name", "team", "--unmetered", "none")["unmetered"] is None


def test_a_project_is_told_what_becomes_of_what_nobody_made(run):
    assert run.json("projects", "create", "--name", "team")["foreign_ids"] == "refuse"
    assert run.json("projects", "update", "--name", "team", "--foreign-ids", "allow")["foreign_ids"] == "allow"


def test_a_project_is_told_how_it_uses_the_cache(run):
    fields = ("cache_policy", "cache_ttl_s", "cache_scope")

    def after(*options: str) -> list[object]:
        told = run.json("projects", "update", "--name", "team", *options)
        return [told[field] for field in fields]

    run.json("projects", "create", "--name", "team")
    assert after("--notes", "a") == [None, None, "project"]
    assert after("--cache-policy", "on", "--cache-ttl-s", "60", "--cache-scope", "key") == ["on", 60, "key"]
    assert after("--notes", "n") == ["on", 60, "key"]
    assert after("--cache-policy", "none", "--cache-ttl-s", "none") == [None, None, "key"]


def test_projects_are_created_listed_shown_updated_and_deleted(run):
    make_credential("second")
    made = run.json("projects", "create", "--name", "team", "--alias", "second", "--notes", "n")
    assert (made["upstream_alias"], made["notes"]) == ("second", "n")
    assert run.json("projects", "list")["results"] == [made]
    assert run.json("projects", "show", "--name", "team") == made
    assert run.json("projects", "update", "--name", "team", "--rename", "crew", "--deactivate")["is_active"] is False
    assert "crew" in run("projects", "list")
    assert run.json("projects", "delete", "--name", "crew")["id"] == made["id"]
    assert not Project.objects.exists()


def test_providers_are_created_listed_shown_updated_and_deleted(run, monkeypatch):
    monkeypatch.setenv("UPSTREAM_SECRET", SECRET)
    arguments = (
        "--kind",
        "custom",
        "--base-url",
        "http://up/v1",
        "--api-key-env",
        "UPSTREAM_SECRET",
        "--credential",
        "c",
    )
    settings = (
        "--models",
        "a, fast=b",
        "--priority",
        "2",
        "--weight",
        "7",
        "--disable",
        "--options",
        '{"headers": {}}',
    )
    made = run.json("providers", "create", "--name", "up", *arguments, *settings)
    row = Provider.objects.get()
    assert (row.kind, row.base_url, row.model_map) == ("custom", "http://up/v1", {"a": "", "fast": "b"})
    assert (row.priority, row.weight, row.is_enabled, row.options) == (2, 7, False, {"headers": {}})
    assert Credential.objects.get(alias="c", provider=row).secret == SECRET
    assert run.json("providers", "show", "--name", "up") == made
    assert run.json("providers", "list", "--kind", "custom")["results"] == [made]
    changed = run.json("providers", "update", "--id", str(row.pk), "--rename", "down", "--enable", "--models", "")
    assert (changed["name"], changed["is_enabled"], changed["models"]) == ("down", True, {})
    assert "down" in run("providers", "list")
    assert run.json("providers", "delete", "--name", "down")["id"] == row.pk
    assert not Provider.objects.exists()


def test_a_change_and_the_note_that_spreads_it_are_made_together(run):
    before = current_version()
    run("keys", "mint", "--name", "k")
    assert current_version() > before
    before = current_version()
    with pytest.raises(CommandError):
        run("keys", "mint", "--name", "k")
    assert current_version() == before


def test_what_is_shown_cannot_steer_the_terminal(run):
    make_provider("up", base_url="http://up/\x1b[2Jv1")
    assert "\x1b" not in run("providers", "list")


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys",),
        ("keys", "dance"),
        ("keys", "mint"),
        ("keys", "mint", "--name", "k", "--rpm", "many"),
        ("keys", "mint", "--name", "k", "--expires-days", "0"),
        ("keys", "mint", "--name", "k", "--expires-days", "9999999999"),
        ("keys", "show"),
        ("keys", "show", "--id", "x"),
        ("keys", "revoke", "--all"),
        ("keys", "update", "--id", "1"),
        ("keys", "mint", "--name", "k", "--budget", "much"),
        ("keys", "mint", "--name", "k", "--period", "year"),
        ("keys", "rotate", "--id", "1", "--grace", "long"),
        ("users", "show", "--id", "7"),
        ("limits", "set"),
        ("teams", "update", "--name", "x"),
        ("keys", "list", "--status", "dead"),
        ("keys", "list", "--api-url", "http://127.0.0.1:1"),
        ("providers", "create", "--name", "x", "--options", "{"),
        ("providers", "create", "--name", "x", "--kind", "teleprinter"),
        ("providers", "update", "--id", "1", "--enable", "--disable"),
        ("credentials", "create", "--alias", "a"),
        ("credentials", "show", "--id", "1", "--alias", "a"),
        ("credentials", "update", "--id", "1"),
        ("credentials", "update", "--id", "1", "--bind", "up", "--unbind"),
    ],
    ids=" ".join,
)
@pytest.mark.any_database
def test_a_wrong_use_exits_with_2_and_nothing_on_stdout(arguments):
    done = processes.run([sys.executable, "manage.py", *arguments], cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.any_database
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[", "ftp://x", "http://nil.invalid"])
def test_a_sluice_that_cannot_be_reached_is_one_line_and_exit_1(url):
    arguments = ["keys", "list", "--json", "--api-url", url, "--token", "t"]
    done = processes.run([sys.executable, "manage.py", *arguments], cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot be reached" in done.stderr


def test_a_wrong_token_is_refused(live_server, monkeypatch):
    with pytest.raises(CommandError, match="not the management token"):
        Terminal("--api-url", live_server.url, "--token", "wrong")("keys", "list")
    monkeypatch.setenv("SLUICE_TOKEN", TOKEN)
    assert Terminal("--api-url", live_server.url + "/api/").json("keys", "list")["results"] == []


def test_an_address_that_is_no_management_api_is_refused(live_server):
    with pytest.raises(CommandError, match="not the management API's"):
        Terminal("--api-url", live_server.url + "/elsewhere", "--token", TOKEN)("keys", "list")


def test_the_database_that_is_not_migrated_is_one_line_and_exit_1(tmp_path):
    env = {"PATH": "/usr/bin:/bin", "DATA_DIR": str(tmp_path), "DATABASE_URL": ""}
    done = processes.run([sys.executable, "manage.py", "keys", "list"], cwd=ROOT, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "migrate" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
