"""P17: after requests of every outcome, no key and no credential is found in anything that Sluice wrote or shows."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kit import plain
from tests.kit.environment import MANAGEMENT_TOKEN, UPSTREAM_KEY
from tests.kit.files import contents
from tests.kit.management import minted
from tests.kit.providers import new_provider
from tests.kit.requests import CHAT, JSON, ask
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Answer,
    Received,
    Reset,
    Script,
    Upstream,
    WaitFor,
    body_answer,
    chat_answer,
    chat_stream,
    error_answer,
    json_answer,
)
from tests.kit.waiting import in_force, soon

SECRET = "sk-database-canary-7b2f09d1c4"
PROMPT = "prompt-canary-51e2"
PASSWORD = "password-canary-88a1"
LISTS = ("keys", "projects", "providers", "credentials", "requests", "audit")


class Played(NamedTuple):
    server: Sluice
    told: str
    """All that clients were answered, heads and bodies."""
    needles: list[str]


def echo_error(received: Received) -> Script:
    """What some providers do with a key that they do not know."""
    sent = received.header("authorization") or ""
    return error_answer(401, f"Incorrect API key provided: {sent}", x_debug_authorization=sent)


def echo_page(received: Received) -> Script:
    sent = received.header("authorization") or ""
    return body_answer(f"<html>{sent}</html>".encode(), 500, content_type="text/html")


def echo_garbage(received: Received) -> Script:
    sent = received.header("authorization") or ""
    return body_answer(f"not json {sent}".encode(), 200, content_type="application/json")


@pytest.fixture(scope="module")
def played(services: Services, _upstream: Upstream) -> Iterator[Played]:
    """A server that has served every kind of request, and all that it answered."""
    with Sluice.start(upstream_url=_upstream.url, LOG_LEVEL="debug") as server:
        yield play(server, _upstream)


def play(server: Sluice, upstream: Upstream) -> Played:
    _, key = minted(server)
    revoked_id, revoked = minted(server)
    rotated_id, old = minted(server)
    rotated = server.api("POST", f"/api/keys/{rotated_id}/rotate").json()["key"]
    server.api("POST", f"/api/keys/{revoked_id}/revoke")
    assert server.api("POST", "/api/credentials", json={"alias": "canary", "secret": SECRET}).status_code == 201
    _, other = minted(server, upstream_alias="canary", rpm=50)
    bound = {"credential": "own", "api_key": SECRET, "models": {"canary-model": ""}}
    new_provider(server, "bound", upstream.url, **bound)
    new_provider(server, "gone", "http://127.0.0.1:9/v1", **{**bound, "models": {"gone-model": ""}})
    in_force(lambda: ask(server, other).status_code == 200)

    told: list[str] = []
    answers: list[Answer] = [
        chat_answer(), echo_error, echo_page, echo_garbage, [Reset()], chat_stream(), json_answer([1]),
    ]  # fmt: skip
    for token in (key, other, revoked, old, rotated, key[:-1] + "x", "", "Basic " + SECRET):
        for answer in answers:
            upstream.script = answer
            for more in ({}, {"stream": True}, {"model": "canary-model"}):
                got = ask(server, token, messages=[{"role": "user", "content": PROMPT}], **more)
                told.append(f"{got.status_code} {got.headers} {got.text}")
    upstream.script = echo_error
    for path, options in (
        ("/v1/files", {"method": "GET"}),
        ("/v1/images/generations", {"content": b'{"model":"canary-model"}', "headers": JSON}),
        ("/v1/chat/completions", {"content": b"{" + SECRET.encode(), "headers": JSON}),
        ("/v1/chat/completions", {"model": "gone-model"}),
        ("/v1/models", {"method": "GET"}),
        ("/nowhere", {"method": "GET"}),
        ("/v1/chat/completions", {"model": "", "headers": {"authorization": f"Bearer {key}"}}),
    ):
        got = ask(server, key, path=path, **options)
        told.append(f"{got.status_code} {got.headers} {got.text}")
    leave_a_stream(server, upstream, key)
    secrets_of_keys = [token[len("sk-sluice-") + 12 : -8] for token in (key, other, revoked, old, rotated)]
    return Played(server, "\n".join(told), [*secrets_of_keys, SECRET, UPSTREAM_KEY, PROMPT, MANAGEMENT_TOKEN])


def leave_a_stream(server: Sluice, upstream: Upstream, key: str) -> None:
    script = list(chat_stream())
    upstream.answers([*script[:3], WaitFor(threading.Event()), *script[3:]])
    with server.client(key).stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        next(answer.iter_bytes())
    soon(lambda: any(row["outcome"] == "client_closed" for row in server.rows()))


def leaks_in(text: str, needles: list[str]) -> list[str]:
    return [
        f"{needle} in …{text[max(0, (at := text.index(needle)) - 150) : at + 60]}…"
        for needle in needles
        if needle in text
    ]


def test_requests_of_every_outcome_were_made(played: Played):
    outcomes = {row["outcome"] for row in played.server.rows()}
    assert outcomes == {"complete", "refused", "upstream_error", "client_closed"}


def test_no_answer_tells_a_secret(played: Played):
    assert not leaks_in(played.told, [needle for needle in played.needles if needle != PROMPT])


def test_the_log_tells_no_secret(played: Played):
    assert not leaks_in(played.server.log_text(), played.needles)


def test_the_metrics_tell_no_secret(played: Played):
    assert not leaks_in(plain.get(f"{played.server.url}/metrics").text, played.needles)


@pytest.mark.parametrize("name", LISTS)
def test_the_api_tells_no_secret(played: Played, name: str):
    listed = played.server.api("GET", f"/api/{name}?page_size=100")
    assert listed.status_code == 200
    assert listed.json()["results"]
    pages = [listed.text]
    for row in listed.json()["results"][:20]:
        pages.append(played.server.api("GET", f"/api/{name}/{row['id']}").text)
        pages.append(played.server.api("PATCH", f"/api/{name}/{row['id']}", json={}).text)
        pages.append(played.server.api("PATCH", f"/api/{name}/{row['id']}", json={"name": ["x"], "alias": ["x"]}).text)
    assert not leaks_in("\n".join(pages), played.needles)


def test_the_admin_tells_no_secret(played: Played):
    server = played.server
    server.env["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
    server.manage("createsuperuser", "--noinput", "--username", "root", "--email", "r@example.org", json=False)
    client = server.client(follow_redirects=True)
    client.get("/admin/login/")
    form = {"username": "root", "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    assert client.post("/admin/login/?next=/admin/", data=form, headers={"referer": server.url}).status_code == 200
    queue, seen = ["/admin/"], {"/admin/"}
    pages: list[str] = []
    while queue and len(pages) < 80:
        page = client.get(queue.pop(0))
        assert page.status_code == 200, page.url
        pages.append(page.text)
        for link in re.findall(r'href="(/admin/[^"?#]*)"', page.text):
            kind = re.sub(r"/[^/]*\d[^/]*/", "/0/", link)  # three rows of each kind are enough
            if link not in seen and "logout" not in link and sum(kind == k for k in map(kind_of, seen)) < 3:
                seen.add(link)
                queue.append(link)
    assert len(pages) > 20
    assert not leaks_in("\n".join(pages), [*played.needles, PASSWORD])


def kind_of(link: str) -> str:
    return re.sub(r"/[^/]*\d[^/]*/", "/0/", link)


def test_every_sort_of_entry_is_in_the_audit_log_and_its_file(played: Played):
    """Else the searches of this module would find nothing in it because nothing is there."""
    actions = {row["action"] for row in played.server.api("GET", "/api/audit?page_size=500").json()["results"]}
    assert {"create", "rotate", "revoke", "request"} <= actions
    file = played.server.directory / "data" / "audit.jsonl"
    assert file.stat().st_size > 1000
    assert not leaks_in(file.read_text(), played.needles)


def test_the_database_and_all_files_hold_no_secret(played: Played):
    database = Path(played.server.database_url.removeprefix("sqlite:///"))
    files = [p for p in database.parent.glob(database.name + "*") if p.is_file()]
    assert database in files
    for path, content in [*((file, file.read_bytes()) for file in files), *contents(played.server.directory).items()]:
        assert not leaks_in(content.decode("latin-1"), [*played.needles, PASSWORD]), path


def test_a_token_that_stands_for_a_model_or_in_an_address_is_masked(start_sluice, upstream: Upstream):
    server = start_sluice()
    _, key = minted(server)
    paths = (f"/v1/files/{key}", f"/v1/nothing/{key}/x", f"/v1/models/{key}", f"/v1/../{key}")
    answers = [ask(server, key, model=key), *(ask(server, key, path=path, method="GET") for path in paths)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    rows = {row["id"]: row for row in server.rows(expect=len(ids))}
    assert rows[ids[0]]["model"] == rows[ids[0]]["model_served"] == f"{key[:14]}…"
    assert rows[ids[1]]["endpoint"] == f"/v1/files/{key[:14]}…"
    metrics = server.client().get("/metrics").text
    audit = server.api("GET", "/api/audit").text
    journal = b"".join(contents(server.directory / "data").values())
    for text in (server.log_text(), str(rows), metrics, audit, journal.decode("latin-1")):
        assert key[20:] not in text
