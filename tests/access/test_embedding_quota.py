"""F31, F109: the embeddings that a user's tier allows a day."""

from __future__ import annotations

import httpx

from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, json_answer
from tests.kit.waiting import in_force

PATH = "/v1/embeddings"


def embed(server: Sluice, key: str, texts: object) -> httpx.Response:
    return ask(server, key, path=PATH, input=texts, model="text-embedding-3-small")


def answers(upstream: Upstream, count: int) -> None:
    upstream.answers(
        *[json_answer({"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1}})] * count
    )


def owned_key(server: Sluice, tier_quota: int) -> tuple[str, int]:
    tier = server.api("POST", "/api/tiers", json={"name": f"t{tier_quota}", "daily_embeddings": tier_quota}).json()
    user = server.api("POST", "/api/users", json={"email": f"u{tier_quota}@example.org", "tier": tier["name"]})
    assert user.status_code == 201, user.text
    key = server.api("POST", "/api/keys", json={"name": f"k{tier_quota}", "owner": user.json()["id"]})
    assert key.status_code == 201, key.text
    return key.json()["key"], tier["id"]


def test_a_batch_counts_its_inputs_and_fits_whole_or_not_at_all(sluice: Sluice, upstream: Upstream) -> None:
    key, _ = owned_key(sluice, 5)
    answers(upstream, 4)
    assert embed(sluice, key, ["a", "b", "c"]).status_code == 200
    error = refused(embed(sluice, key, ["a", "b", "c"]), 429, "rate_limit_exceeded")
    assert "5 requests per day on tier 't5'; 3 used, 3 asked for" in error["message"]
    assert embed(sluice, key, [[1, 2], [3]]).status_code == 200
    refused(embed(sluice, key, "one"), 429, "rate_limit_exceeded")
    assert len(upstream.requests) == 2


def test_a_changed_tier_counts_from_the_next_request(sluice: Sluice, upstream: Upstream) -> None:
    key, tier = owned_key(sluice, 2)
    answers(upstream, 9)
    assert embed(sluice, key, ["a", "b"]).status_code == 200
    refused(embed(sluice, key, "c"), 429, "rate_limit_exceeded")
    sluice.api("PATCH", f"/api/tiers/{tier}", json={"daily_embeddings": 4})
    in_force(lambda: embed(sluice, key, [7, 8, 9]).status_code == 200)
    refused(embed(sluice, key, ["x", "y"]), 429, "rate_limit_exceeded")


def test_chats_of_the_same_key_are_not_counted(sluice: Sluice, upstream: Upstream) -> None:
    key, _ = owned_key(sluice, 1)
    answers(upstream, 3)
    assert embed(sluice, key, "a").status_code == 200
    assert ask(sluice, key).status_code == 200
    refused(embed(sluice, key, "a"), 429, "rate_limit_exceeded")
