"""F44, F71, F88, F89: stored answers and their frames are looked at, and purged, by API, command and admin."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit import plain
from tests.kit.caching import cache_of, key_of_project, question
from tests.kit.fleet import fleet_of
from tests.kit.joining import all_ask, answers_of
from tests.kit.management import minted, new_project
from tests.kit.requests import CHAT, STREAM, WITH_USAGE, ask
from tests.kit.services import Services
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import (
    Chunk,
    EndChunks,
    Upstream,
    WaitFor,
    chat_answer,
    chat_frames,
    chat_stream,
    stream_head,
    usage_of,
)
from tests.kit.waiting import soon

pytestmark = [
    pytest.mark.server(each={"SQLite": {}, "PostgreSQL and Redis": {"database": "postgres", "redis": True}}),
    pytest.mark.key(project={"cache_policy": "on"}),
]


def stored(sluice: Sluice, answer: Any) -> dict[str, Any]:
    """The row of an answer, once it is written."""
    path = f"/api/responses/{answer.headers['x-request-id']}"
    soon(lambda: sluice.api("GET", path).status_code == 200)
    document: dict[str, Any] = sluice.api("GET", path).json()
    return document


def purged(sluice: Sluice, **said: Any) -> dict[str, Any]:
    answer = sluice.api("POST", "/api/cache/purge", json=said)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


# --- looking -------------------------------------------------------------------------------------------------


def test_a_stored_answer_is_shown_by_any_of_its_names(sluice: Sluice, upstream: Upstream, key: str):
    answer = ask(sluice, key, **question())
    row = stored(sluice, answer)
    assert row["cache_key"] == answer.headers["x-cache-key"]
    assert (row["endpoint"], row["model"], row["stream"]) == ("/v1/chat/completions", "gpt-4.1-mini", False)
    assert row["answer"]["status_code"] == 200
    assert row["answer"]["body"] == answer.text
    assert row["answer"]["headers"]["content-type"] == "application/json"
    for name in (row["id"], row["cache_key"], row["response_id"]):
        assert sluice.api("GET", f"/api/responses/{name}/").json()["id"] == row["id"]
    assert sluice.api("GET", f"/api/responses/{'0' * 64}").status_code == 404
    assert sluice.api("GET", "/api/responses/req_nothing").status_code == 404


def test_stored_answers_are_listed_and_filtered(sluice: Sluice, upstream: Upstream):
    project = new_project(sluice, cache_policy="on")
    key = minted(sluice, project=project)[1]
    upstream.answers(chat_answer())
    first = ask(sluice, key, **question())
    stored(sluice, first)
    upstream.answers(chat_stream())
    second = ask(sluice, key, **{**STREAM, **question()})
    stored(sluice, second)

    def listed(query: str) -> list[str]:
        answer = sluice.api("GET", f"/api/responses?project={project}{query}")
        assert answer.status_code == 200, answer.text
        return [row["request_id"] for row in answer.json()["results"]]

    ids = [second.headers["x-request-id"], first.headers["x-request-id"]]
    assert listed("") == ids
    assert listed("&stream=true") == ids[:1]
    assert listed("&model=gpt-4.1-mini&endpoint=/v1/chat/completions") == ids
    assert listed("&model=none") == []
    assert listed(f"&request_id={ids[1]}") == ids[1:]
    page = sluice.api("GET", f"/api/responses?project={project}&page_size=1").json()
    assert [row["request_id"] for row in page["results"]] == ids[:1]
    following = sluice.api("GET", page["next"].removeprefix(sluice.url)).json()
    assert [row["request_id"] for row in following["results"]] == ids[1:]
    assert sluice.api("GET", "/api/responses?cursor=cD1ub25zZW5zZQ==").status_code == 400
    middle = sluice.api("GET", f"/api/responses/{ids[0]}").json()["created_at"]
    assert listed(f"&created_after={middle}") == ids[:1]
    assert listed(f"&created_before={middle}") == ids[1:]
    assert sluice.api("GET", "/api/responses?created_after=0001-01-01T00:00:00%2B14:00").status_code == 400
    unknown = sluice.api("GET", "/api/responses?projekt=1")
    assert (unknown.status_code, "project" in unknown.text) == (400, True)


def test_the_frames_of_a_stream_have_their_times(
    sluice: Sluice, upstream: Upstream, key: str, threads: ThreadPoolExecutor
):
    go = threading.Event()
    first_frame, *frames = chat_frames(usage=usage_of(3, 4))
    upstream.script = [stream_head(), Chunk(first_frame), WaitFor(go), *map(Chunk, frames), EndChunks()]
    asked = {**CHAT, **WITH_USAGE, **question()}
    with sluice.client(key).stream("POST", "/v1/chat/completions", json=asked) as live:
        pieces = live.iter_bytes()
        text = next(pieces)
        assert not go.wait(0.3)
        go.set()
        text += b"".join(pieces)
    row = stored(sluice, live)
    path = f"/api/responses/{row['id']}/frames"
    shown = sluice.api("GET", path).json()["results"]
    assert [frame["ordinal"] for frame in shown] == list(range(1, len(shown) + 1))
    assert "".join(f"data: {frame['data']}\n\n" for frame in shown) == text.decode()
    assert shown[1]["at_s"] - shown[0]["at_s"] >= 0.299
    assert shown[1]["at_s"] <= shown[-1]["at_s"]
    assert sluice.api("GET", f"{path}?after=2").json()["results"] == shown[2:]
    page = sluice.api("GET", f"{path}?page_size=2").json()
    assert page["results"] == shown[:2]
    assert sluice.api("GET", page["next"].removeprefix(sluice.url)).json()["results"] == shown[2:4]
    assert sluice.api("GET", f"{path}?after=-1").status_code == 400
    assert sluice.api("GET", f"{path}?behind=1").status_code == 400


def test_the_answer_that_a_stream_amounts_to_is_shown_with_its_usage(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_stream(["It is", " four."], usage=usage_of(3, 4))
    shown = stored(sluice, ask(sluice, key, **{**STREAM, **WITH_USAGE, **question()}))["answer"]
    assert shown["final"]["choices"][0]["message"]["content"] == "It is four."
    assert shown["usage"] == usage_of(3, 4) == shown["final"]["usage"]


def test_an_object_has_no_frames(sluice: Sluice, upstream: Upstream, key: str):
    answer = ask(sluice, key, **question())
    row = stored(sluice, answer)
    assert row["answer"]["final"] == answer.json()
    assert row["answer"]["usage"] == answer.json()["usage"]
    assert sluice.api("GET", f"/api/responses/{row['id']}/frames").status_code == 404


def test_the_cache_is_told_in_total_and_by_project(sluice: Sluice, upstream: Upstream):
    project = new_project(sluice, cache_policy="on")
    key = minted(sluice, project=project)[1]
    asked = question()
    answer = ask(sluice, key, **asked)
    size = stored(sluice, answer)["size"]
    ask(sluice, key, **asked)

    def told() -> dict[str, Any]:
        return next(row for row in sluice.api("GET", "/api/cache").json()["projects"] if row["project"] == project)

    soon(lambda: told()["hits"] == 1)
    assert (told()["entries"], told()["bytes"]) == (1, size)
    document = sluice.api("GET", "/api/cache/").json()
    assert document["entries"] >= 1
    assert document["bytes"] >= size
    assert document["is_stored"] is True


@pytest.mark.parametrize("path", ["/api/responses", "/api/cache", "/api/responses/x", "/api/responses/x/frames"])
def test_nobody_but_staff_sees_stored_answers(sluice: Sluice, key: str, path: str):
    assert plain.get(f"{sluice.url}{path}").status_code == 401
    assert plain.get(f"{sluice.url}{path}", headers={"authorization": f"Bearer {key}"}).status_code == 401


# --- purging -------------------------------------------------------------------------------------------------


def test_each_way_to_purge_takes_what_it_names_and_nothing_else(sluice: Sluice, upstream: Upstream):
    one, other = (new_project(sluice, cache_policy="on") for _ in range(2))
    keys = {project: minted(sluice, project=project)[1] for project in (one, other)}
    asked = {project: question() for project in (one, other)}

    def fill() -> None:
        for project in (one, other):
            answer = ask(sluice, keys[project], **asked[project])
            assert cache_of(answer) in ("MISS", "HIT")
            soon(lambda: sluice.api("GET", f"/api/responses?project={project}").json()["results"])  # noqa: B023

    def found() -> list[str]:
        headers = {"cache-control": "only-if-cached"}
        answers = [ask(sluice, keys[each], headers=headers, **asked[each]) for each in (one, other)]
        return ["HIT" if answer.status_code == 200 else "MISS" for answer in answers]

    fill()
    cache_key = ask(sluice, keys[one], **asked[one]).headers["x-cache-key"]
    for said, left in (
        ({"cache_key": cache_key}, ["MISS", "HIT"]),
        ({"project": other}, ["HIT", "MISS"]),
        ({"project": one, "model": "gpt-4", "path": "/v1/chat"}, ["MISS", "HIT"]),
        ({"project": one, "model": "claude"}, ["HIT", "HIT"]),
        ({"model": "gpt-4"}, ["MISS", "MISS"]),
        ({"path": "/v1/chat"}, ["MISS", "MISS"]),
        ({"path": "/v1/embeddings"}, ["HIT", "HIT"]),
        ({"all": True}, ["MISS", "MISS"]),
    ):
        fill()
        purged(sluice, **said)
        assert found() == left, said
    assert sluice.api("GET", f"/api/responses?project={one}").json()["results"] == []


@pytest.mark.parametrize(
    "said, names",
    [
        ({}, '"all": true'),
        ({"all": False}, '"all": true'),
        ({"all": True, "model": "x"}, "all"),
        ({"cache_keys": "x"}, "cache_key"),
        ({"cache_key": "x"}, "cache_key"),
        ({"project": "x"}, "project"),
        ({"model": ""}, "model"),
    ],
    ids=str,
)
def test_a_purge_that_is_not_clear_purges_nothing(sluice: Sluice, said: dict[str, Any], names: str):
    before = len(sluice.api("GET", "/api/cache").json()["purges"])
    answer = sluice.api("POST", "/api/cache/purge", json=said)
    assert answer.status_code == 400, answer.text
    assert names in answer.text.replace('\\"', '"')
    assert len(sluice.api("GET", "/api/cache").json()["purges"]) == before


def test_an_answer_on_its_way_is_not_stored_after_a_purge(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.answers([WaitFor(go), *chat_answer("old")])
    asked = question()
    asking = all_ask(sluice, upstream, threads, key, 1, **asked)
    purged(sluice, all=True)
    go.set()
    answers_of(asking)
    upstream.answers(chat_answer("new"))
    again = ask(sluice, key, **asked)
    assert (cache_of(again), "new" in again.text) == ("MISS", True)
    assert cache_of(ask(sluice, key, **asked)) == "HIT"


def test_a_purge_is_audited_with_what_it_said(sluice: Sluice):
    made = purged(sluice, model="gpt-4-audited")
    [entry] = [
        entry
        for entry in sluice.api("GET", "/api/audit?page_size=20").json()["results"]
        if entry["target_kind"] == "purge" and entry["target_id"] == str(made["id"])
    ]
    assert entry["action"] == "create"
    assert entry["changes"]["model"] == "gpt-4-audited"


def test_a_purge_counts_in_all_processes_of_all_servers(
    services: Services, upstream: Upstream, threads: ThreadPoolExecutor
):
    with fleet_of(upstream, instances=2, workers=2) as fleet:
        key = key_of_project(fleet.first)
        asked = question()
        ask(fleet.first, key, **asked)
        for server in fleet.servers:  # until the memory of each worker has it
            assert {cache_of(ask(server, key, **asked)) for _ in range(12)} == {"HIT"}
        purged(fleet.first, all=True)
        soon(lambda: len(upstream.requests) == 2 or ask(fleet.last, key, **asked).headers["x-cache"] == "MISS")
        assert {cache_of(ask(server, key, **asked)) for server in fleet.servers for _ in range(12)} <= {"HIT", "JOINED"}
        assert len(upstream.requests) == 2


def test_what_was_purged_stays_so_after_a_restart(start_sluice: StartSluice, upstream: Upstream):
    """Also in Redis, which still has it."""
    sluice = start_sluice("postgres", redis=True)
    key = key_of_project(sluice)
    asked = question()
    stored(sluice, ask(sluice, key, **asked))
    purged(sluice, all=True)
    sluice.stop()
    sluice.launch()
    assert cache_of(ask(sluice, key, **asked)) == "MISS"
    sluice.stop()
    sluice.launch()
    assert cache_of(ask(sluice, key, **asked)) == "HIT"


# --- commands ------------------------------------------------------------------------------------------------


def test_commands_do_what_the_api_does(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_stream()
    answer = ask(sluice, key, **{**STREAM, **question()})
    row = stored(sluice, answer)
    assert sluice.manage("cache", "stats")["entries"] >= 1
    assert row["id"] in [each["id"] for each in sluice.manage("cache", "list", "--limit", "0")["results"]]
    assert sluice.manage("cache", "show", answer.headers["x-cache-key"])["answer"]["body"] == row["answer"]["body"]
    assert "[DONE]" in sluice.manage("cache", "frames", row["id"], json=False)
    made = sluice.manage("cache", "purge", "--key", row["cache_key"])
    assert (made["cache_key"], made["entries"]) == (row["cache_key"], 1)
    assert set(sluice.manage("cache", "prune")) == {"purged", "expired", "beyond_bound"}
    afar = sluice.manage("cache", "prune", "--api-url", sluice.url, "--token", "t", check=False)
    assert (afar.returncode != 0, "not from afar" in afar.stderr) == (True, True)
    refused = sluice.manage("cache", "purge", check=False)
    assert refused.returncode != 0
    assert sluice.api("GET", f"/api/responses/{row['id']}").status_code == 404
