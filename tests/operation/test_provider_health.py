"""Providers are asked whether they are there, as they are paid: what they said is kept, and no secret is in it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from providers import checks
from providers.checks import check_providers
from providers.health import health_of_providers
from providers.models import Credential, Provider, ProviderHealth
from tests.kit.upstream import Upstream, WaitFor, error_answer, models_answer

SECRET = "sk-health-canary-77aa01"

pytestmark = pytest.mark.django_db(transaction=True)


def make_provider(name: str = "up", base_url: str = "", **fields: Any) -> Provider:
    return Provider.objects.create(name=name, base_url=base_url, **fields)


def make_secret(provider: Provider, secret: str = SECRET) -> None:
    credential = Credential(alias=provider.credential_alias, provider=provider)
    credential.secret = secret
    credential.save()


def one() -> ProviderHealth:
    return ProviderHealth.objects.get()


def test_who_was_never_asked_is_unknown(upstream: Upstream):
    make_provider(base_url=upstream.url)
    assert [(found.provider, found.status, found.since) for found in health_of_providers()] == [("up", "unknown", None)]


def test_it_is_asked_for_its_models_with_its_credential(upstream: Upstream):
    provider = make_provider(base_url=upstream.url, credential_alias="default", options={"headers": {"x-team": "one"}})
    make_secret(provider)
    check_providers()
    (asked,) = upstream.requests
    assert (asked.method, asked.path) == ("GET", "/v1/models")
    assert asked.header_values("authorization") == [f"Bearer {SECRET}"]
    assert asked.header_values("x-team") == ["one"]
    assert (one().status, one().error) == ("ok", "")
    assert (one().latency_ms or 0) > 0


def test_since_moves_when_the_status_does_and_only_then(upstream: Upstream):
    make_provider(base_url=upstream.url)
    seen = []
    for answer in (models_answer(), models_answer(), error_answer(500), error_answer(503), models_answer()):
        upstream.script = answer
        check_providers()
        seen.append(one())
    assert [found.status for found in seen] == ["ok", "ok", "down", "down", "ok"]
    assert [found.error for found in seen] == ["", "", "It answered 500.", "It answered 503.", ""]
    assert seen[0].since == seen[1].since
    assert seen[2].since == seen[3].since == seen[2].checked_at
    assert seen[4].since == seen[4].checked_at
    assert len({found.checked_at for found in seen}) == 5


@pytest.mark.parametrize(
    "answer, options, status, error",
    [
        (error_answer(401), {}, "down", "It refuses the credential (401)."),
        (error_answer(403), {}, "down", "It refuses the credential (403)."),
        (error_answer(429), {}, "ok", ""),
        (error_answer(404), {}, "ok", ""),
        (error_answer(404), {"health_path": "/models"}, "down", "It answered 404."),
        (error_answer(502), {}, "down", "It answered 502."),
    ],
)
def test_what_an_answer_means(upstream: Upstream, answer: Any, options: dict[str, Any], status: str, error: str):
    make_provider(base_url=upstream.url, options=options)
    upstream.script = answer
    check_providers()
    assert (one().status, one().error) == (status, error)


def test_what_an_answer_says_is_not_repeated(upstream: Upstream, capsys: pytest.CaptureFixture[str]):
    provider = make_provider(base_url=upstream.url, credential_alias="default")
    make_secret(provider)
    upstream.script = error_answer(500, f"Your key {SECRET} is bad")
    call_command("providers", "check")
    assert SECRET not in one().error + capsys.readouterr().out


def test_who_does_not_answer_is_down_and_holds_no_other_up(upstream: Upstream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "TIMEOUT_S", 2)
    never = threading.Event()
    upstream.paths["/slow/models"] = [WaitFor(never)]
    make_provider("slow", upstream.url + "/slow")
    make_provider("there", upstream.url)
    make_provider("nobody", "http://127.0.0.1:9/v1")
    check_providers()
    found = {row.provider.name: row for row in ProviderHealth.objects.select_related("provider")}
    assert {name: row.status for name, row in found.items()} == {"slow": "down", "there": "ok", "nobody": "down"}
    assert found["slow"].error.startswith("No answer")
    assert found["nobody"].error == "No answer (ConnectError)."


@pytest.mark.parametrize(
    "kind, options, target, header",
    [
        ("azure", {}, "/v1/openai/models?api-version=2024-10-21", ("api-key", SECRET)),
        ("custom", {"paths": {"/models": "/list"}}, "/v1/openai/list", ("authorization", f"Bearer {SECRET}")),
        (
            "custom",
            {"health_path": "/up?x=1", "auth_header": "x-key"},
            "/v1/openai/up?x=1",
            ("x-key", f"Bearer {SECRET}"),
        ),
        ("openai", {"health_path": "/healthz"}, "/v1/openai/healthz", ("authorization", f"Bearer {SECRET}")),
    ],
)
def test_each_kind_is_asked_in_its_own_way(
    upstream: Upstream, kind: str, options: dict[str, Any], target: str, header: tuple[str, str]
):
    provider = Provider(
        name="up", kind=kind, base_url=upstream.url + "/openai", credential_alias="default", options=options
    )
    provider.full_clean()
    provider.save()
    make_secret(provider)
    check_providers()
    (asked,) = upstream.requests
    assert asked.path + (f"?{asked.query}" if asked.query else "") == target
    assert asked.header_values(header[0]) == [header[1]]


def test_who_is_not_to_be_asked_is_not_and_what_was_known_is_forgotten(upstream: Upstream):
    provider = make_provider(base_url=upstream.url)
    check_providers()
    assert ProviderHealth.objects.count() == 1
    provider.options = {"health_path": False}
    provider.full_clean()
    provider.save()
    make_provider("off", upstream.url, is_enabled=False)
    check_providers()
    assert len(upstream.requests) == 1
    assert ProviderHealth.objects.count() == 0


def test_a_credential_that_is_missing_is_told_and_nothing_is_sent(upstream: Upstream):
    make_provider(base_url=upstream.url, credential_alias="nowhere")
    check_providers()
    assert one().status == "down"
    assert "nowhere" in one().error
    assert upstream.requests == []


def test_the_simulator_in_the_process_is_well(upstream: Upstream):
    make_provider("sim", kind="simulator")
    check_providers()
    assert (one().status, one().latency_ms) == ("ok", 0.0)


@pytest.mark.parametrize("wrong", ["models", 7, "/a b", "", None, "/x#y"])
def test_a_path_that_is_none_is_refused(wrong: Any):
    from django.core.exceptions import ValidationError

    for kind in ("openai", "azure", "custom"):
        with pytest.raises(ValidationError, match="health_path"):
            Provider(name="x", kind=kind, base_url="http://x/v1", options={"health_path": wrong}).full_clean()


def test_the_admin_shows_it(upstream: Upstream, client: Client):
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_superuser("root", password="pw"))
    make_provider("bad", upstream.url)
    assert "never checked" in client.get("/admin/providers/provider/").content.decode()
    upstream.script = error_answer(500)
    check_providers()
    page = client.get("/admin/providers/provider/?health__status=down").content.decode()
    assert "down since" in page
    assert "It answered 500." in page


def test_checking_leaves_no_trace_in_the_audit_log_and_no_change_note(upstream: Upstream):
    from proxy.configuration.changes import current_version
    from usage.models import AuditEntry

    make_provider(base_url=upstream.url)
    before = current_version(), AuditEntry.objects.count()
    check_providers()
    upstream.script = error_answer(500)
    check_providers()
    assert (current_version(), AuditEntry.objects.count()) == before
