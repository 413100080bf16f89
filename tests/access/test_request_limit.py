"""Requests per minute of a key (F100, F102, F103, P13)."""

from __future__ import annotations

import re

from tests.kit.management import changed, minted
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import in_force


def test_the_request_above_the_limit_is_429_with_what_a_client_needs(sluice: Sluice, upstream: Upstream):
    _, key = minted(sluice, name="three-a-minute", rpm=3)
    for remaining in (2, 1, 0):
        answer = ask(sluice, key)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(remaining)
    answer = ask(sluice, key)
    error = refused(answer, 429, "rate_limit_exceeded")
    assert error["type"] == "rate_limit_error"
    assert "3 requests per minute" in error["message"]
    assert "three-a-minute" in error["message"]
    assert 50 <= int(answer.headers["retry-after"]) <= 60
    assert len(upstream.requests) == 3


def test_a_refusal_carries_the_limits_headers(sluice: Sluice, upstream: Upstream):
    _, key = minted(sluice, rpm=1)
    assert ask(sluice, key).status_code == 200
    headers = ask(sluice, key).headers
    assert headers["x-ratelimit-limit-requests"] == "1"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"\d+(\.\d+)?s", headers["x-ratelimit-reset-requests"])


def test_refused_requests_take_nothing_and_a_new_limit_counts_at_once(sluice: Sluice, upstream: Upstream):
    key_id, key = minted(sluice, rpm=2)
    assert [ask(sluice, key).status_code for _ in range(6)] == [200, 200, 429, 429, 429, 429]
    changed(sluice, f"/api/keys/{key_id}", rpm=4)
    in_force(lambda: ask(sluice, key).status_code == 200)
    assert [ask(sluice, key).status_code for _ in range(3)] == [200, 429, 429]
    changed(sluice, f"/api/keys/{key_id}", rpm=None)
    in_force(lambda: ask(sluice, key).status_code == 200)
    assert {ask(sluice, key).status_code for _ in range(5)} == {200}
    changed(sluice, f"/api/keys/{key_id}", rpm=1)
    in_force(lambda: ask(sluice, key).status_code == 429)


def test_requests_that_fail_before_the_limit_take_nothing(sluice: Sluice, upstream: Upstream):
    _, key = minted(sluice, rpm=1, allowed_models=["gpt-*"])
    refused(ask(sluice, key, model="o1"), 403, "model_not_allowed")
    refused(
        ask(sluice, key, content=b"{}", headers={"content-type": "application/json"}), 400, "missing_required_parameter"
    )
    refused(ask(sluice, key, content=b"x", headers={"content-type": "text/csv"}), 415, "unsupported_media_type")
    assert ask(sluice, key).status_code == 200
    assert ask(sluice, key).status_code == 429


def test_the_list_of_models_is_not_limited(sluice: Sluice, upstream: Upstream):
    _, key = minted(sluice, rpm=1)
    assert ask(sluice, key).status_code == 200
    assert {ask(sluice, key, path="/v1/models", method="GET").status_code for _ in range(3)} == {200}


def test_what_is_passed_through_is_limited_too(sluice: Sluice, upstream: Upstream):
    _, key = minted(sluice, rpm=1)
    assert ask(sluice, key, path="/v1/files", method="GET").status_code == 200
    refused(ask(sluice, key, path="/v1/files", method="GET"), 429, "rate_limit_exceeded")


def test_keys_do_not_share_their_limits(sluice: Sluice, upstream: Upstream):
    keys = [minted(sluice, rpm=1)[1] for _ in range(3)]
    assert [ask(sluice, key).status_code for key in keys * 2] == [200] * 3 + [429] * 3
