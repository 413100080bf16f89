"""P17: no secret in what Sluice leaves in PostgreSQL, Redis, its journal and its other files, nor in what it tells of
users, teams and limits: searched for, as bytes and in the encodings that might hide them, after all were used.
"""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.kit import plain
from tests.kit.databases import query
from tests.kit.environment import ENCRYPTION_KEY, MANAGEMENT_TOKEN, SECRET_KEY, UPSTREAM_KEY
from tests.kit.files import contents
from tests.kit.management import from_now, minted
from tests.kit.providers import new_provider
from tests.kit.requests import ask
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon

SECRET = "sk-database-canary-4e1fd07c92"
PROMPT = "prompt-canary-9b7c"
PASSWORD, WRONG_PASSWORD = "password-canary-1f0a right", "password-canary-2c44 wrong"
EMAIL = "canary@example.org"


class Played(NamedTuple):
    server: Sluice
    needles: list[bytes]
    told: str


@pytest.fixture(scope="module")
def played(services: Services, _upstream: Upstream) -> Iterator[Played]:
    options: dict[str, Any] = {"SIGNUP_ENABLED": True, "LOG_LEVEL": "debug", "LOGIN_RATE": "1000/min"}
    with Sluice.start("postgres", redis=True, workers=2, upstream_url=_upstream.url, **options) as server:
        yield play(server)


def play(server: Sluice) -> Played:
    """Everybody who has a secret uses it, rightly and wrongly. The ledger's process sleeps meanwhile."""
    told: list[str] = []

    def post(path: str, body: Any, token: str = "", method: str = "POST") -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return plain.request(method, server.url + path, json=body, headers=headers)

    user = {"email": EMAIL, "password": PASSWORD}
    signed_up = post("/v1/auth/signup", user).json()
    jwt = post("/v1/auth/login", user).json()["token"]
    told.append(post("/v1/auth/login", {**user, "password": WRONG_PASSWORD}).text)
    told.append(post("/v1/auth/signup", user).text)
    own = post("/v1/keys", {}, jwt).json()["api_key"]
    told.append(post("/v1/keys", None, jwt, "GET").text)
    told.append(post("/v1/keys", {}, jwt + "x").text)
    team = server.api("POST", "/api/teams", json={"name": "crew", "rpm": 1000, "budget": 5}).json()
    limits = {"rpm": 100, "tpm": 100_000, "rps": 50, "parallel": 9, "daily": 900, "max_requests": 900, "budget": 9}
    key_id, first = minted(server, team=team["id"], **limits)
    rotated = server.api("POST", f"/api/keys/{key_id}/rotate", json={"grace_seconds": 60}).json()["key"]
    revoked_id, revoked = minted(server, **limits)
    server.api("POST", f"/api/keys/{revoked_id}/revoke")
    _, expired = minted(server, expires_at=from_now(seconds=-1))
    assert server.api("POST", "/api/credentials", json={"alias": "canary", "secret": SECRET}).is_success
    new_provider(server, "bound", server.env["OPENAI_BASE_URL"], api_key=SECRET, models={"bound-model": ""})
    tokens = [signed_up["api_key"], own, first, rotated, revoked, expired]
    asked: list[str] = []

    def is_bound() -> bool:
        answer = ask(server, own, model="bound-model")
        asked.append(answer.headers["x-request-id"])
        return answer.headers.get("x-provider") == "bound"

    soon(is_bound)
    server.rows(expect=len(asked))  # else the ledger's process may sleep with a key's row locked
    os.kill(server.ledger_pid(), signal.SIGSTOP)
    for token in [*tokens, jwt, MANAGEMENT_TOKEN, SECRET, UPSTREAM_KEY]:
        for more in ({}, {"stream": True}, {"model": "bound-model"}):
            answer = ask(server, token, messages=[{"role": "user", "content": PROMPT}], **more)
            told.append(f"{answer.headers} {answer.text}")
            told.append(server.api("POST", "/api/keys/validate", json={"key": token}).text)
    needles = [token[len("sk-sluice-") + 12 : -8] for token in tokens]
    needles += [jwt, jwt.rpartition(".")[2], PASSWORD, WRONG_PASSWORD, SECRET, UPSTREAM_KEY, MANAGEMENT_TOKEN]
    return Played(
        server, [needle.encode() for needle in [*needles, SECRET_KEY, ENCRYPTION_KEY, PROMPT]], "\n".join(told)
    )


def leaks_in(data: bytes, needles: list[bytes]) -> list[bytes]:
    """Those that are in it, also as hexadecimal digits or in base64 (at any offset in its groups of three)."""
    hits = []
    for needle in needles:
        hidden = {needle, needle.hex().encode()}
        for offset in range(3):
            whole = base64.b64encode(b"\0" * offset + needle)
            hidden.add(whole[4 if offset else 0 : -4])
        hits += [needle for form in hidden if form in data]
    return hits


def test_the_search_finds_what_is_hidden():
    for offset in range(3):
        assert leaks_in(base64.b64encode(b"x" * offset + b"a needle that is long" + b"yy"), [b"a needle that is long"])
    assert leaks_in(b"a needle".hex().encode(), [b"a needle"])


def test_the_journal_holds_no_secret(played: Played):
    """Its process sleeps, so that what was just written is still there."""
    journal = played.server.directory / "data" / "journal"
    written = b"".join(contents(journal).values())
    assert b"/v1/chat/completions" in written
    assert not leaks_in(written, played.needles)


def test_redis_holds_no_secret(played: Played):
    assert played.server.redis_url
    import redis

    client = redis.Redis.from_url(played.server.redis_url)
    names = list(client.scan_iter(count=1000))
    assert any(b"{sluice:limits}:key:" in name for name in names)
    assert any(b"{sluice:limits}:team:" in name for name in names)
    everything = b"\n".join([*names, *(dumped for name in names if isinstance(dumped := client.dump(name), bytes))])
    everything += b"\n".join(
        value for name in names if client.type(name) == b"string" and isinstance(value := client.get(name), bytes)
    )
    client.close()
    assert not leaks_in(everything, played.needles)


def test_nothing_that_was_answered_tells_a_secret(played: Played):
    needles = [needle for needle in played.needles if needle != PROMPT.encode()]
    assert not leaks_in(played.told.encode(), needles)


@pytest.mark.parametrize(
    "name", ["users", "teams", "tiers", "limits/global", "prices", "config/version", "keys", "audit"]
)
def test_the_api_tells_no_secret(played: Played, name: str):
    listed = played.server.api("GET", f"/api/{name}" + ("" if "/" in name else "?page_size=500"))
    assert listed.status_code == 200
    pages = [listed.text]
    for row in listed.json().get("results", [])[:10]:
        pages.append(played.server.api("GET", f"/api/{name}/{row.get('id')}").text)
        pages.append(played.server.api("PATCH", f"/api/{name}/{row.get('id')}", json={"password": [PASSWORD]}).text)
    needles = [needle for needle in played.needles if needle != PASSWORD.encode()]
    assert not leaks_in("\n".join(pages).encode(), needles)


def test_the_log_and_every_file_hold_no_secret(played: Played):
    played.server.api("POST", "/api/users", json={"email": "not one", "password": PASSWORD})
    for path, content in contents(played.server.directory).items():
        assert not leaks_in(content, played.needles), path
    assert (played.server.directory / "data" / "audit.jsonl").stat().st_size > 1000


def test_the_metrics_tell_no_secret(played: Played):
    answer = plain.get(f"{played.server.url}/metrics")
    assert not leaks_in(answer.content, played.needles)


def test_every_table_of_the_database_holds_no_secret(played: Played):
    """Last, when the ledger is written: the rows as text."""
    server = played.server
    os.kill(server.ledger_pid(), signal.SIGCONT)
    soon(lambda: len(server.rows()) >= 30)
    tables = query(server.database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    sizes: dict[str, int] = {}
    for name in (row["tablename"] for row in tables):
        rows = query(server.database_url, f'SELECT t::text AS line FROM "{name}" AS t')
        sizes[name] = len(rows)
        assert not leaks_in("\n".join(row["line"] for row in rows).encode(), played.needles), name
    for name in ("keys_virtualkey", "usage_requestrecord", "usage_auditentry", "auth_user", "usage_scopetotal"):
        assert sizes[name], sizes
