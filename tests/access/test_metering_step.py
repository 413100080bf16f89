"""X96: who is held to what is metered, what that is, and the reason that is told, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.admission.bound import needs_metering, reason
from proxy.admission.metering import check_metered
from proxy.errors import BadRequest, Forbidden
from tests.kit.exchanges import (
    BUDGET,
    FORM,
    JSON,
    exchange_of,
    key_of,
    override_of,
    project_of,
    provider_of,
    snapshot_of,
)
from tests.kit.scopes import scope

TEXT = {"model": "gpt-4.1-mini", "input": "hi"}
LISTED, PAYING, FREE = key_of("gpt-4.1-mini"), key_of(scopes=(BUDGET,)), key_of()
EVERYBODY = scope("global", "everybody", budget=5)


@pytest.mark.parametrize("everybody", [(), (EVERYBODY,), (scope("global", "everybody", rpm=5),)], ids=str)
@pytest.mark.parametrize("key", [None, FREE, LISTED, PAYING], ids=["no key", "free", "list", "budget"])
@pytest.mark.parametrize("project", [None, *(project_of(is_bound=bound) for bound in (False, True))], ids=str)
def test_a_list_or_a_budget_holds_to_what_is_metered(key: Any, project: Any, everybody: Any):
    exchange = exchange_of(key=key, project=project)
    snapshot = snapshot_of(*everybody)
    wanted = EVERYBODY in everybody or (key.is_bound if key else bool(project and project.is_bound))
    assert needs_metering(exchange, snapshot) is wanted


@pytest.mark.parametrize("unmetered", ["allow", "refuse"])
@pytest.mark.parametrize("key", [None, FREE, LISTED, PAYING], ids=["no key", "free", "list", "budget"])
def test_a_projects_word_goes_before_that(unmetered: str, key: Any):
    exchange = exchange_of(key=key, project=project_of(unmetered=unmetered))
    for everybody in ((), (EVERYBODY,)):
        assert needs_metering(exchange, snapshot_of(*everybody)) is (unmetered == "refuse")


@pytest.mark.parametrize(
    "key, project, everybody, told",
    [
        (LISTED, project_of(unmetered="refuse"), (), "its project refuses what is not"),
        (LISTED, project_of(), (EVERYBODY,), "this API key has a list of models"),
        (PAYING, project_of(), (), "key '1' has a budget"),
        (PAYING, project_of(), (EVERYBODY,), "key '1' has a budget"),
        (key_of(scopes=(scope("team", rpm=1),)), project_of(), (EVERYBODY,), "global 'everybody' has a budget"),
        (key_of(scopes=(scope("team", rpm=1), scope("user", budget=0))), None, (), "user '1' has a budget"),
        (None, project_of(scope=scope("project", budget=1), is_bound=True), (), "project '1' has a budget"),
        (None, None, (EVERYBODY,), "global 'everybody' has a budget"),
        (None, project_of(is_bound=True), (), "there is a budget"),
        (None, project_of(unmetered="allow", is_bound=True), (), "there is a budget"),
    ],
)
def test_the_reason_is_the_nearest_one(key: Any, project: Any, everybody: Any, told: str):
    assert reason(exchange_of(key=key, project=project), snapshot_of(*everybody)) == told


REFUSED = [
    ("POST", "/v1/batches", {"input_file_id": "f"}, (), "POST /v1/batches is not metered"),
    (
        "POST",
        "/v1/responses",
        {**TEXT, "background": 1},
        (),
        "POST /v1/responses with this `background` is not metered",
    ),
    ("POST", "/v1/responses", {**TEXT, "Background": True}, (), "with this `background` is not metered"),
    ("POST", "/v1/responses", {**TEXT, "background": True, "BACKGROUND": None}, (), "with this `background` is not"),
    ("POST", "/v1/responses", {"prompt": {"id": "p"}}, (), "POST /v1/responses without a model is not metered"),
    ("POST", "/v1/audio/speech", {"input": "hi"}, (), "POST /v1/audio/speech without a model that can be read is not"),
    ("POST", "/v1/audio/speech", {**TEXT, "model": "m"}, (), "with the model 'm', whose price is not known, is not"),
    ("GET", "/v1/files", b"{}", (JSON,), "GET /v1/files with a body is not metered"),
    ("DELETE", "/v1/files/f", b"x", (), "DELETE /v1/files/*** with a body is not metered"),
    ("GET", "/v1/thoughts", None, (), "GET /v1/thoughts is not metered"),
]


@pytest.mark.parametrize("method, path, body, headers, told", REFUSED)
@pytest.mark.parametrize("key", [LISTED, PAYING], ids=["list", "budget"])
def test_what_cannot_be_metered_is_refused_in_words(
    key: Any, method: str, path: str, body: Any, headers: Any, told: str
):
    exchange = exchange_of(method, path, body, *headers, key=key, project=project_of())
    with pytest.raises(Forbidden) as refused:
        check_metered(exchange, snapshot_of())
    assert refused.value.code == "endpoint_not_metered"
    assert told.replace("***", exchange.path.rpartition("/")[2]) in refused.value.message
    assert reason(exchange, snapshot_of()) in refused.value.message
    if body != {"prompt": {"id": "p"}}:
        check_metered(exchange_of(method, path, body, *headers, key=FREE, project=project_of()), snapshot_of())


@pytest.mark.parametrize(
    "method, path, body, headers",
    [
        ("GET", "/v1/files", None, ()),
        ("GET", "/v1/files", b"", ()),
        ("POST", "/v1/files", b"--B--", (FORM,)),
        ("POST", "/v1/responses", TEXT, ()),
        *(("POST", "/v1/responses", {**TEXT, "background": value}, ()) for value in (True, False, None)),
    ],
)
def test_what_is_metered_or_free_passes(method: str, path: str, body: Any, headers: Any):
    check_metered(exchange_of(method, path, body, *headers, key=LISTED, project=project_of()), snapshot_of(EVERYBODY))


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions"])
@pytest.mark.parametrize("prompt", [None, {"id": "pmpt_1"}])
@pytest.mark.parametrize("unmetered", [None, "refuse", "allow"])
@pytest.mark.parametrize("key", [None, FREE, LISTED, PAYING], ids=["no key", "free", "list", "budget"])
def test_a_model_may_be_left_to_the_provider_by_a_project_or_a_stored_prompt(
    path: str, prompt: Any, unmetered: Any, key: Any
):
    exchange = exchange_of("POST", path, {"prompt": prompt}, key=key, project=project_of(unmetered=unmetered))
    is_stored = prompt is not None and path == "/v1/responses"
    held = unmetered == "refuse" or (unmetered is None and key in (LISTED, PAYING))
    if not is_stored and not (unmetered == "allow" and key is not LISTED):
        with pytest.raises(BadRequest) as refused:
            check_metered(exchange, snapshot_of())
        assert (refused.value.code, refused.value.param) == ("missing_required_parameter", "model")
    elif held:
        with pytest.raises(Forbidden):
            check_metered(exchange, snapshot_of())
    else:
        check_metered(exchange, snapshot_of())


@pytest.mark.parametrize("headers, is_form", [((), False), ((FORM, (b"content-length", b"9")), True)])
def test_media_of_a_known_price_are_metered_and_a_form_of_them_to_its_end(headers: Any, is_form: bool):
    exchange = exchange_of("POST", "/v1/images/edits", None if is_form else {"model": "m"}, *headers, key=PAYING)
    exchange.model = "m"
    providers = [provider_of(), provider_of("other")]
    check_metered(exchange, snapshot_of(providers=providers, prices=[override_of(per_image="0.04")]))
    assert exchange.is_metered_form is is_form
    exchange.started_at += 60  # prices are remembered for a second
    with pytest.raises(Forbidden):
        check_metered(exchange, snapshot_of(providers=providers, prices=[override_of(provider="other", input=1)]))
