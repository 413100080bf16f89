"""Providers and credentials in a superuser's browser."""

from __future__ import annotations

import pytest
from django.test import Client

from providers.models import Credential, Provider
from proxy.configuration.changes import current_version
from tests.kit.rows import SECRET, make_credential, make_provider

PROVIDERS = "/admin/providers/provider/"
CREDENTIALS = "/admin/providers/credential/"


def form(**fields):
    return {
        "name": "up",
        "kind": "openai",
        "base_url": "http://upstream/v1",
        "credential_alias": "",
        "model_map": "",
        "priority": "0",
        "weight": "100",
        "is_enabled": "on",
        "options": "{}",
        "api_key": "",
        **fields,
    }


def test_a_provider_is_added_with_its_models_and_its_key(admin):
    admin.post(PROVIDERS + "add/", form(model_map="gpt-4.1-mini\nfast = o4-mini\n", api_key=SECRET, options=""))
    provider = Provider.objects.get()
    assert provider.model_map == {"gpt-4.1-mini": "", "fast": "o4-mini"}
    assert (provider.credential_alias, provider.credentials.get().secret, provider.options) == ("default", SECRET, {})


def test_a_provider_is_changed_and_keeps_its_key(admin):
    provider = make_provider(credential_alias="default", model_map={"a": "b"})
    make_credential(provider=provider)
    page = admin.get(f"{PROVIDERS}{provider.pk}/change/").content.decode()
    assert "a = b" in page
    before = current_version()
    admin.post(f"{PROVIDERS}{provider.pk}/change/", form(credential_alias="default", model_map="a = b", weight="3"))
    provider.refresh_from_db()
    assert (provider.weight, provider.model_map, Credential.objects.get().secret) == (3, {"a": "b"}, SECRET)
    assert current_version() > before


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": ""},
        {"base_url": "x"},
        {"kind": "x"},
        {"options": '{"a": 1}'},
        {"options": "["},
        {"model_map": "= x"},
        {"api_key": "…6789"},
        {"api_key": " sk-0123456789"},
        {"name": "taken"},
        {"weight": "-1"},
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error_in_the_form(admin, wrong):
    make_provider("taken")
    page = admin.post(PROVIDERS + "add/", form(**wrong))
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert (Provider.objects.count(), Credential.objects.count()) == (1, 0)


def row(provider, **fields):
    total = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "_save": "Save", "form-0-id": provider.pk}
    return {**total, "form-0-is_enabled": "on", "form-0-priority": "0", "form-0-weight": "100", **fields}


def test_priority_and_weight_are_edited_in_the_list(admin):
    provider = make_provider()
    admin.post(PROVIDERS, row(provider, **{"form-0-weight": "0", "form-0-priority": "2"}))
    provider.refresh_from_db()
    assert (provider.weight, provider.priority) == (0, 2)


def test_a_row_that_is_wrong_elsewhere_says_so_in_the_list(admin):
    provider = make_provider(base_url="", options={"unknown": 1})
    page = admin.post(PROVIDERS, row(provider, **{"form-0-weight": "5"}))
    assert page.status_code == 200
    assert "needs a base URL" in page.content.decode()


def test_the_key_field_is_for_those_who_may_store_credentials(make_user):
    client = Client()
    client.force_login(make_user("providers.add_provider", "providers.view_provider"))
    assert 'name="api_key"' not in client.get(PROVIDERS + "add/").content.decode()
    client.post(PROVIDERS + "add/", form(api_key=SECRET))
    assert (Provider.objects.count(), Credential.objects.count()) == (1, 0)


def test_a_credential_is_added_and_shown_as_its_mask(admin):
    admin.post(CREDENTIALS + "add/", {"alias": "a", "provider": "", "secret": SECRET})
    credential = Credential.objects.get()
    assert credential.secret == SECRET
    for page in (CREDENTIALS, f"{CREDENTIALS}{credential.pk}/change/"):
        shown = admin.get(page).content.decode()
        assert "…6789" in shown
        assert SECRET not in shown


def test_a_secret_that_is_left_blank_stays(admin):
    credential = make_credential()
    admin.post(f"{CREDENTIALS}{credential.pk}/change/", {"alias": "renamed", "provider": "", "secret": ""})
    credential.refresh_from_db()
    assert (credential.alias, credential.secret) == ("renamed", SECRET)
    admin.post(
        f"{CREDENTIALS}{credential.pk}/change/", {"alias": "renamed", "provider": "", "secret": "sk-other-12345"}
    )
    credential.refresh_from_db()
    assert credential.secret == "sk-other-12345"


def test_a_bound_credential_can_be_set_free(admin):
    credential = make_credential(provider=make_provider())
    admin.post(f"{CREDENTIALS}{credential.pk}/change/", {"alias": "default", "provider": "", "secret": ""})
    credential.refresh_from_db()
    assert credential.provider is None


@pytest.mark.parametrize("secret", ["", "…6789", "****", " spaced ", "ключ"])
def test_a_new_credential_needs_a_secret_that_is_none_of_our_masks(admin, secret):
    page = admin.post(CREDENTIALS + "add/", {"alias": "a", "provider": "", "secret": secret})
    assert "errorlist" in page.content.decode()
    assert secret == "" or f'value="{secret}"' not in page.content.decode()
    assert not Credential.objects.exists()
