"""F3, F82: a replayed response goes on being usable where it was made, by its project, and by no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.caching import cache_of, id_in, key_of_project, make_response, prompt, question, respond, serial
from tests.kit.management import changed, minted, new_project
from tests.kit.providers import let_changes_arrive
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.waiting import in_force

pytestmark = [
    pytest.mark.server(OPENAI_KEYS="second=sk-second-canary"),
    pytest.mark.key(project={"cache_policy": "on"}),
]

STREAM = {"stream": True}
FORMS = pytest.mark.parametrize("form", [{}, STREAM], ids=["plain", "stream"])


def sent_with(upstream: Upstream) -> str | None:
    return upstream.last.header("authorization")


def goes_on(sluice: Sluice, upstream: Upstream, key: str, response_id: str) -> str | None:
    """With which credential a response is continued."""
    assert respond(sluice, key, previous_response_id=response_id, **prompt()).status_code == 200
    return sent_with(upstream)


@FORMS
def test_a_response_goes_on_with_the_credential_that_made_it(sluice: Sluice, upstream: Upstream, form: dict[str, Any]):
    """Also for a key of the project that has another credential."""
    upstream.script = make_response
    project = new_project(sluice, cache_policy="on")
    _, key = minted(sluice, project=project, upstream_alias="second")
    _, plain = minted(sluice, project=project)
    asked = {**prompt(), **form}
    answers = [respond(sluice, each, **asked) for each in (key, plain, key, plain)]
    assert [cache_of(each) for each in answers] == ["MISS", "HIT", "HIT", "HIT"]
    assert len({id_in(each) for each in answers}) == 1
    for each in (key, plain):
        assert goes_on(sluice, upstream, each, id_in(answers[0])) == "Bearer sk-second-canary"


def test_a_replayed_response_goes_on_after_a_restart(start_sluice: StartSluice, upstream: Upstream):
    server = start_sluice(HTTP_CACHE_DEFAULT_POLICY="on", OPENAI_KEYS="second=sk-second-canary")
    upstream.script = make_response
    _, key = minted(server, upstream_alias="second")
    asked = prompt()
    answers = [respond(server, key, **asked) for _ in range(3)]
    assert [cache_of(each) for each in answers] == ["MISS", "HIT", "HIT"]
    rows = server.rows(expect=3)
    assert {row["credential"] for row in rows} == {"second"}
    assert server.stop() == 0
    server.launch()
    assert goes_on(server, upstream, key, id_in(answers[0])) == "Bearer sk-second-canary"


def test_a_response_whose_credential_is_gone_is_not_replayed(start_sluice: StartSluice, upstream: Upstream):
    server = start_sluice(HTTP_CACHE_DEFAULT_POLICY="on")
    upstream.script = make_response
    made = server.api("POST", "/api/credentials", json={"alias": "brief", "secret": "sk-brief"})
    assert made.status_code == 201, made.text
    number, key = minted(server)
    let_changes_arrive(server, key)
    changed(server, f"/api/keys/{number}", upstream_alias="brief")
    kept, unkept = prompt(), {**prompt(), "store": False}
    in_force(lambda: respond(server, key, **prompt()).is_success and sent_with(upstream) == "Bearer sk-brief")
    for asked in (kept, unkept):
        assert [cache_of(respond(server, key, **asked)) for _ in range(2)] == ["MISS", "HIT"]
    changed(server, f"/api/keys/{number}", upstream_alias="")
    in_force(lambda: respond(server, key, **prompt()).is_success and sent_with(upstream) != "Bearer sk-brief")
    assert server.api("DELETE", f"/api/credentials/{made.json()['id']}").status_code == 204
    let_changes_arrive(server, key)
    assert [cache_of(respond(server, key, **asked)) for asked in (kept, unkept)] == ["MISS", "HIT"]


def test_projects_that_share_share_only_what_is_stored_nowhere(sluice: Sluice, upstream: Upstream):
    upstream.script = make_response
    one, two = (key_of_project(sluice, cache_scope="shared") for _ in range(2))
    for asked, seen in ((prompt(), ["BYPASS", "BYPASS"]), ({**prompt(), "store": False}, ["MISS", "HIT"])):
        assert [cache_of(respond(sluice, each, **asked)) for each in (one, two)] == seen


@FORMS
def test_who_is_answered_by_anothers_response_does_not_own_it(sluice: Sluice, upstream: Upstream, form: dict[str, Any]):
    """Although the provider may have stored it, whatever it was told."""
    upstream.script = make_response
    one, two = (key_of_project(sluice, cache_scope="shared") for _ in range(2))
    asked = {**prompt(), **form, "store": False}
    made, *hits = [respond(sluice, each, **asked) for each in (one, two, two)]
    assert [cache_of(each) for each in hits] == ["HIT", "HIT"]
    assert respond(sluice, one, f"/{id_in(made)}", method="GET").status_code == 200
    refused(respond(sluice, two, f"/{id_in(made)}", method="GET"), 404, "response_not_found")


def test_who_is_answered_by_anothers_chat_does_not_own_it(sluice: Sluice, upstream: Upstream):
    """Some accounts store chats unasked."""
    upstream.script = chat_answer(id=f"chatcmpl-{next(serial)}")
    one, two = (key_of_project(sluice, cache_scope="shared") for _ in range(2))
    asked = question()
    answers = [ask(sluice, each, **asked) for each in (one, two)]
    assert [cache_of(each) for each in answers] == ["MISS", "HIT"]
    path = f"/v1/chat/completions/{answers[0].json()['id']}"
    assert ask(sluice, one, path=path, method="GET").status_code == 200
    refused(ask(sluice, two, path=path, method="GET"), 404, "chat_completion_not_found")


def test_a_file_of_another_project_is_not_read_by_way_of_the_cache(sluice: Sluice, upstream: Upstream):
    one, two = (key_of_project(sluice, cache_scope="shared") for _ in range(2))
    file_id = f"file-{next(serial)}"
    upstream.script = lambda got: chat_answer() if "chat" in got.path else chat_answer(id=file_id)
    assert ask(sluice, one, path="/v1/files", content=b"{}").status_code == 200
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": file_id}}]}]
    }
    assert cache_of(ask(sluice, one, **asked)) == "BYPASS"
    refused(ask(sluice, two, **asked), 404, "file_not_found")


def test_a_key_that_moves_to_another_project_leaves_its_responses_behind(sluice: Sluice, upstream: Upstream):
    upstream.script = make_response
    here, there = (new_project(sluice, cache_policy="on", cache_scope="key") for _ in range(2))
    number, key = minted(sluice, project=here)
    asked = prompt()
    answers = [respond(sluice, key, **asked) for _ in range(2)]
    assert [cache_of(each) for each in answers] == ["MISS", "HIT"]
    changed(sluice, f"/api/keys/{number}", project=there)
    in_force(lambda: respond(sluice, key, f"/{id_in(answers[0])}", method="GET").status_code == 404)
    assert cache_of(respond(sluice, key, **asked)) == "MISS"


def test_what_the_provider_stores_is_replayed_for_a_day_at_most(sluice: Sluice, upstream: Upstream):
    """The provider keeps it for a month, and whoever gets it from the cache may need it for a while."""
    key = key_of_project(sluice, cache_ttl_s=5 * 86_400)
    for more, days in (({}, 1), ({"store": False}, 5)):
        asked = {**prompt(), **more}
        respond(sluice, key, **asked)
        ttl = int(respond(sluice, key, **asked).headers["cache-status"].rpartition("=")[2])
        assert days * 86_400 - 60 <= ttl <= days * 86_400
