from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from providers.models import Credential
from tests.kit.rows import SECRET, make_credential, make_provider

FIELDS = {"id", "alias", "provider", "provider_name", "mask", "usable", "created_at", "updated_at"}


def test_a_credential_is_created_read_updated_and_deleted(api):
    provider = make_provider()
    made = api.post("/api/credentials", {"alias": "a", "provider": provider.pk, "secret": SECRET})
    assert made.status_code == 201
    assert set(made.json()) == FIELDS
    assert (made.json()["mask"], made.json()["usable"]) == ("…6789", True)
    assert made.json()["provider_name"] == provider.name
    path = f"/api/credentials/{made.json()['id']}"
    assert api.get(path).json() == made.json()
    assert api.patch(path, {"alias": "b", "provider": None}).json()["alias"] == "b"
    assert Credential.objects.get().secret == SECRET
    assert api.put(path, {"alias": "b", "secret": "sk-changed-0123456789"}).status_code == 200
    assert Credential.objects.get().secret == "sk-changed-0123456789"
    assert api.delete(path).status_code == 204


def test_a_new_credential_needs_its_secret(api):
    assert list(api.post("/api/credentials", {"alias": "a"}).json()["errors"]) == ["secret"]


@pytest.mark.parametrize(
    "secret",
    [
        *(
            "…6789",
            "sk-…6789",
            "sk-...6789",
            "********",
            "****",
            "xxxxxxxx",
            "••••••••",
            "sk-***",
            "(cannot be decrypted)",
        ),
        *("", " ", " sk-0123456789", "sk-0123456789 ", "sk-0123456789\n", "sk-\t0123456789", "sk-ключ", "sk-\x7f"),
        *("sk-\r\nX-Evil: 1", "s" * 5000, 12345, None, ["sk-0123456789"], {"a": 1}, True),
    ],
    ids=lambda secret: repr(secret)[:30],
)
def test_a_mask_or_what_no_header_can_carry_is_refused(api, secret):
    credential = make_credential()
    for answer in (
        api.patch(f"/api/credentials/{credential.pk}", {"secret": secret}),
        api.post("/api/credentials", {"alias": "new", "secret": secret}),
    ):
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["secret"])
    assert Credential.objects.get().secret == SECRET


def test_the_mask_of_every_secret_is_refused_when_it_is_written_back(api):
    for number, secret in enumerate(("short", "sk-0123456789abcdef")):
        mask = make_credential(f"a{number}", secret).mask
        assert api.post("/api/credentials", {"alias": "new", "secret": mask}).status_code == 400


def test_a_duplicate_alias_at_the_same_provider_is_409(api):
    provider = make_provider()
    make_credential("a")
    make_credential("a", provider=provider)
    for body in ({"alias": "a"}, {"alias": "a", "provider": provider.pk}):
        answer = api.post("/api/credentials", {**body, "secret": SECRET})
        assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_alias")


@pytest.mark.parametrize(
    "wrong", [{"alias": "A b"}, {"alias": ""}, {"provider": 999}, {"provider": "x"}, {"alias": None}]
)
def test_what_does_not_fit_is_400(api, wrong):
    assert api.post("/api/credentials", {"alias": "a", "secret": SECRET, **wrong}).status_code == 400


def test_a_credential_that_cannot_be_decrypted_is_shown_as_unusable(api, settings):
    credential = make_credential()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    shown = api.get(f"/api/credentials/{credential.pk}").json()
    assert (shown["usable"], shown["mask"]) == (False, "(cannot be decrypted)")
    assert api.get("/api/credentials").status_code == 200
    assert api.patch(f"/api/credentials/{credential.pk}", {"secret": SECRET}).json()["usable"] is True


def test_credentials_are_filtered(api):
    provider = make_provider()
    make_credential("a")
    make_credential("b", provider=provider)
    found = api.get(f"/api/credentials?provider={provider.pk}").json()["results"]
    assert [row["alias"] for row in found] == ["b"]
    assert [row["alias"] for row in api.get("/api/credentials?alias=a").json()["results"]] == ["a"]


def test_a_changed_credential_is_told_whole(api):
    credential = make_credential()
    told = api.patch(f"/api/credentials/{credential.pk}", {"alias": "other", "provider": None}, format="json").json()
    assert told == api.get(f"/api/credentials/{credential.pk}").json()
    assert (told["alias"], told["provider"], told["provider_name"]) == ("other", None, None)
