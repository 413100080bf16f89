"""F51: what is stored is rewritten under the first key of ENCRYPTION_KEY, and nothing else changes."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from providers.changes import acted
from providers.models import Credential
from providers.vault import renew
from proxy.configuration.changes import current_version
from tests.kit.rows import SECRET, make_credential, make_provider
from usage.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))
OTHER_SECRET = "sk-another-secret-9876543210"


def reencrypted() -> dict[str, Any]:
    out = StringIO()
    call_command("credentials", "reencrypt", "--json", stdout=out)
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def secrets_under(*keys: str, settings: Any) -> dict[str, str | None]:
    """What a server with these keys alone reads, by alias; None where it cannot."""
    settings.ENCRYPTION_KEYS = list(keys)
    return {row.alias: row.secret if row.usable else None for row in Credential.objects.all()}


@pytest.fixture
def stored(settings):
    """Two credentials under the old key, while the new one stands in front of it."""
    settings.ENCRYPTION_KEYS = [OLD]
    make_credential("a")
    make_credential("b", OTHER_SECRET, provider=make_provider())
    settings.ENCRYPTION_KEYS = [NEW, OLD]


def test_all_is_under_the_first_key_after_it(stored, settings):
    assert reencrypted() == {"rewritten": 2, "undecryptable": []}
    assert secrets_under(NEW, settings=settings) == {"a": SECRET, "b": OTHER_SECRET}
    assert secrets_under(OLD, settings=settings) == {"a": None, "b": None}


def test_a_second_time_there_is_nothing_to_do(stored):
    reencrypted()
    before = list(Credential.objects.values())
    assert reencrypted() == {"rewritten": 0, "undecryptable": []}
    assert list(Credential.objects.values()) == before


def test_what_no_key_decrypts_is_named_and_the_others_are_done(stored, settings, capsys):
    settings.ENCRYPTION_KEYS = [LOST]
    lost = make_credential("lost")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with pytest.raises(CommandError) as refused:
        call_command("credentials", "reencrypt", "--json")
    assert refused.value.returncode == 1
    assert str(refused.value) == (f"Rewrote 2 credentials. No key of ENCRYPTION_KEY decrypts 'lost' (id {lost.pk}).")
    told = json.loads(capsys.readouterr().out)
    assert told == {"rewritten": 2, "undecryptable": [{"id": lost.pk, "alias": "lost", "provider": None}]}
    assert Credential.objects.get(pk=lost.pk).encrypted == lost.encrypted
    assert secrets_under(NEW, settings=settings) == {"a": SECRET, "b": OTHER_SECRET, "lost": None}


@pytest.fixture
def meanwhile(monkeypatch):
    """`meanwhile(act)`: what happens once between the reading of a row and its writing."""

    def arrange(act: Any) -> None:
        waiting = [act]

        def renew_late(stored: str) -> str:
            renewed = renew(stored)
            if waiting:
                waiting.pop()()
            return renewed

        monkeypatch.setattr("providers.reencrypt.renew", renew_late)

    return arrange


@pytest.mark.parametrize("keys", [[NEW, OLD], [OLD, NEW]], ids=["by the new key", "by a server that has the old one"])
def test_a_secret_that_is_stored_meanwhile_stays(stored, meanwhile, settings, keys):
    def store() -> None:
        settings.ENCRYPTION_KEYS = keys
        Credential.objects.get(alias="a").change(secret="sk-stored-meanwhile")
        settings.ENCRYPTION_KEYS = [NEW, OLD]

    meanwhile(store)
    reencrypted()
    assert secrets_under(NEW, settings=settings) == {"a": "sk-stored-meanwhile", "b": OTHER_SECRET}


def test_what_is_deleted_meanwhile_stays_deleted(stored, meanwhile, settings):
    meanwhile(lambda: Credential.objects.get(alias="a").delete())
    assert reencrypted()["rewritten"] == 1
    assert secrets_under(NEW, settings=settings) == {"b": OTHER_SECRET}


def test_another_change_that_began_before_does_not_bring_the_old_key_back(stored, settings):
    read_before = Credential.objects.get(alias="a")
    reencrypted()
    read_before.change(alias="c")
    assert secrets_under(NEW, settings=settings) == {"b": OTHER_SECRET, "c": SECRET}


def test_servers_are_not_disturbed_and_the_audit_log_tells(stored):
    before, version = list(Credential.objects.values("id", "alias", "provider", "updated_at")), current_version()
    reencrypted()
    assert list(Credential.objects.values("id", "alias", "provider", "updated_at")) == before
    assert current_version() == version
    entries = AuditEntry.objects.filter(action="reencrypt").order_by("target").values_list("target_kind", "target")
    assert list(entries) == [("credential", "a"), ("credential", "b")]


def test_a_failing_database_is_one_line_and_nothing_is_lost(stored, settings, monkeypatch):
    def fail(**_: Any) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr(acted, "send", fail)
    with pytest.raises(CommandError, match="disk full"):
        reencrypted()
    monkeypatch.undo()
    assert reencrypted()["rewritten"] == 2


def test_another_sluices_credentials_are_not_touched_from_here():
    with pytest.raises(CommandError, match="where their database is"):
        call_command("credentials", "reencrypt", "--api-url", "http://127.0.0.1:1", "--token", "x")
