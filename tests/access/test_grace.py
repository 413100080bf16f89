"""F25: the old token after a rotation with a grace, on the data plane."""

from __future__ import annotations

import pytest

from tests.kit.management import minted
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.waiting import in_force, soon

pytestmark = pytest.mark.server(simulated=True)


def rotated(sluice: Sluice, key_id: int, grace: float) -> str:
    answer = sluice.api("POST", f"/api/keys/{key_id}/rotate", json={"grace_seconds": grace})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["key"])


def test_both_tokens_are_served_during_the_grace_whichever_is_asked_first(sluice: Sluice):
    for warm in (True, False):
        key_id, old = minted(sluice)
        if warm:
            assert ask(sluice, old).status_code == 200
        new = rotated(sluice, key_id, 60)
        for token in (old, new, old, new):
            assert ask(sluice, token).status_code == 200


def test_the_old_token_dies_when_its_grace_ends(sluice: Sluice):
    key_id, old = minted(sluice)
    new = rotated(sluice, key_id, 5)
    assert ask(sluice, old).status_code == 200
    soon(lambda: ask(sluice, old).status_code == 401)
    refused(ask(sluice, old), 401, "invalid_api_key")
    assert ask(sluice, new).status_code == 200


def test_a_revocation_ends_the_grace(sluice: Sluice):
    key_id, old = minted(sluice)
    new = rotated(sluice, key_id, 60)
    assert [ask(sluice, token).status_code for token in (old, new)] == [200, 200]
    sluice.api("POST", f"/api/keys/{key_id}/revoke")
    in_force(lambda: ask(sluice, old).status_code == ask(sluice, new).status_code == 401)
    refused(ask(sluice, old), 401, "key_revoked")


def test_a_later_rotation_without_grace_kills_both_old_tokens(sluice: Sluice):
    key_id, first = minted(sluice)
    second = rotated(sluice, key_id, 60)
    assert [ask(sluice, token).status_code for token in (first, second)] == [200, 200]
    third = rotated(sluice, key_id, 0)
    in_force(lambda: {ask(sluice, token).status_code for token in (first, second)} == {401})
    assert ask(sluice, third).status_code == 200


def test_uses_of_both_tokens_are_the_one_keys(sluice: Sluice):
    key_id, old = minted(sluice)
    new = rotated(sluice, key_id, 60)
    for token in (old, new, old):
        ask(sluice, token)
    soon(lambda: sluice.api("GET", f"/api/keys/{key_id}").json()["total_requests"] == 3)
