"""F14: pages in browsers ask first, without a key, and may read answers where a project allows their origin."""

from __future__ import annotations

import httpx
import pytest

from tests.kit.management import changed, minted, new_project
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, chat_stream, error_answer
from tests.kit.waiting import in_force

PAGE = "https://app.example.org"
OTHER = "https://evil.example"
ASKS = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization,x-a"}


@pytest.fixture(scope="module")
def key(server: Sluice) -> str:
    token = minted(server, project=new_project(server, allowed_origins=[PAGE]))[1]
    in_force(lambda: preflight(server).status_code == 204)
    return token


def preflight(server: Sluice, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    return ask(server, None, path=path, method="OPTIONS", headers={**ASKS, **headers})


def test_a_preflight_is_answered_without_a_key(server: Sluice, upstream: Upstream, key: str):
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/files/x"):
        answer = preflight(server, path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "authorization,x-a"
        assert "Origin" in answer.headers["vary"]
    assert not upstream.requests


def test_a_preflight_of_an_origin_that_no_project_allows_is_refused(server: Sluice, key: str):
    answer = preflight(server, origin=OTHER)
    refused(answer, 403, "origin_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_answers_streams_and_errors_can_be_read_by_the_page(server: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_answer(), chat_stream(), error_answer(429, access_control_allow_origin="*"))
    told = [ask(server, key, headers={"origin": PAGE}, stream=stream) for stream in (False, True, False)]
    told += [ask(server, "sk-sluice-wrong", headers={"origin": PAGE})]
    assert [answer.status_code for answer in told] == [200, 200, 429, 401]
    for answer in told:
        assert answer.headers.get_list("access-control-allow-origin") == [PAGE]
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


def test_programs_and_pages_of_other_projects_get_no_such_headers(server: Sluice, upstream: Upstream, key: str):
    _, elsewhere = minted(server)
    for answer in (ask(server, key), ask(server, elsewhere, headers={"origin": PAGE})):
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_an_inactive_projects_origins_count_no_more(server: Sluice, key: str):
    project = new_project(server, allowed_origins=["https://*.gone.example"])
    in_force(lambda: preflight(server, origin="https://a.gone.example").status_code == 204)
    changed(server, f"/api/projects/{project}", is_active=False)
    in_force(lambda: preflight(server, origin="https://a.gone.example").status_code == 403)


def test_no_header_is_smuggled_through_what_a_preflight_asks_for(server: Sluice, key: str):
    answer = preflight(server, **{"access-control-request-headers": 'x-a"<script>'})
    assert answer.status_code == 204
    assert "access-control-allow-headers" not in answer.headers


def test_options_that_are_no_preflight_need_a_key(server: Sluice, key: str):
    refused(ask(server, None, path="/v1/files", method="OPTIONS", headers={"origin": PAGE}), 401, "missing_api_key")
