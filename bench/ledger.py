"""Ten million requests in PostgreSQL: how fast lists and reports answer, how fast more are written, and how much disk a
row takes."""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from bench import key_rows, ledger_rows, machine
from bench.keys import PASSWORD, timed
from bench.ledger_rows import DAYS, KEYS, NO_MODEL, RARE_MODEL, RARE_STATUS, RETIRED_MODEL
from bench.reports import MOST_MS, disk_of_sums, reports
from bench.result import Result, slow
from bench.servers import Server, Servers
from keys.tokens import hash_secret, new_salt
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.services.postgres import PostgresServer
from usage.event import RequestEvent
from usage.journal.record import encode, sealed
from usage.ledger.partitions import TABLE

MB = 1024 * 1024
ROWS, QUICK_ROWS = 10_000_000, 200_000
SAMPLES, QUICK_SAMPLES = 20, 1
EVENTS, QUICK_EVENTS = 150_000, 20_000
SEGMENT = 25_000
LEAST_EVENTS = 5_000
BEFORE_SUMS = "0010"
"""The last migration before the sums by hour and day. The next ones make them from the rows that are there."""

# PostgreSQL's defaults apart from sizes. What is committed is on the disk.
DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
POSTGRES = (*DURABLE, "shared_buffers=1GB", "max_wal_size=8GB", "jit=on", "log_min_messages=error")

Query = Callable[[random.Random], str]


def ledger(servers: Servers, *, quick: bool, rows: int = 0) -> list[Result]:
    rows = rows or (QUICK_ROWS if quick else ROWS)
    with PostgresServer(*POSTGRES) as postgres:
        url = postgres.url_of(postgres.create())
        directory = servers.directory / "ledger"
        directory.mkdir()
        end = ledger_rows.now()
        install(servers, directory, url, rows, end)
        return measured(servers, postgres, directory, url, end, quick=quick)


def install(servers: Servers, directory: Path, url: str, rows: int, end: datetime) -> None:
    settings = {"DATABASE_URL": url}
    servers.manage(directory, "migrate", "--verbosity", "0", **settings)
    servers.manage(directory, "projects", "create", "--name", "pattern", **settings)
    servers.manage(directory, "teams", "create", "--name", "pattern", **settings)
    named = ("createsuperuser", "--noinput", "--username", "bench", "--email", "bench@example.org")
    servers.manage(directory, *named, **{**settings, "DJANGO_SUPERUSER_PASSWORD": PASSWORD})
    servers.manage(directory, "keys", "mint", "--name", "pattern", **settings)
    servers.manage(directory, "migrate", "usage", BEFORE_SUMS, "--verbosity", "0", **settings)
    salt = new_salt()
    key_rows.fill(url, KEYS, salt, hash_secret(key_rows.SECRET, salt))
    began = time.monotonic()
    for there in ledger_rows.fill(url, rows, end):
        print(f"ledger: {there:,} rows: {time.monotonic() - began:.0f} s", flush=True)
    print(f"ledger: totals as well: {time.monotonic() - began:.0f} s", flush=True)
    servers.manage(directory, "migrate", "--verbosity", "0", **settings)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    print(f"ledger: sums by hour and day as well: {time.monotonic() - began:.0f} s", flush=True)


def measured(
    servers: Servers, postgres: PostgresServer, directory: Path, url: str, end: datetime, *, quick: bool
) -> list[Result]:
    results = list(disk(url))
    results += disk_of_sums(url, results[0].value)
    server = servers.sluice_in(directory, None, DATABASE_URL=url, JOURNAL_DIR=directory / "none")
    samples = QUICK_SAMPLES if quick else SAMPLES
    results += lists(server, url, end, samples)
    results += reports(server, url, end, samples)
    servers.end(server)
    events = QUICK_EVENTS if quick else EVENTS
    return results + ingestion(servers, postgres, directory, url, min(events, int(results[0].value)))


def disk(url: str) -> Iterator[Result]:
    with psycopg.connect(url) as connection:

        def one(statement: str) -> float:
            row = connection.execute(statement).fetchone()
            assert row
            return float(row[0])

        rows = one(f"SELECT count(*) FROM {TABLE}")
        each = f"FROM pg_inherits WHERE inhparent = '{TABLE}'::regclass"
        yield Result("ledger", "rows", rows, "")
        yield Result("ledger", "disk for a row", one(f"SELECT sum(pg_table_size(inhrelid)) {each}") / rows, "bytes")
        yield Result(
            "ledger", "disk for its indexes", one(f"SELECT sum(pg_indexes_size(inhrelid)) {each}") / rows, "bytes"
        )
        totals = one("SELECT pg_total_relation_size('usage_scopetotal')")
        yield Result("ledger", "disk for its share of the totals", totals / rows, "bytes")


# --- Lists -------------------------------------------------------------------------------------------------
def lists(server: Server, url: str, end: datetime, samples: int) -> list[Result]:
    results = []
    token = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}
    with httpx.Client(base_url=server.root, headers=token, timeout=120, trust_env=False) as api:
        for name, query in api_queries(url, end).items():
            results.append(time_queries(api, f"API: {name}", "/api/requests?", query, samples, ends_early))
        results.append(next_pages(api, samples))
    with signed_in(server) as admin:
        for name, query in admin_queries(url, end).items():
            path = "/admin/usage/requestrecord/?"
            results.append(
                time_queries(admin, f"admin: {name}", path, query, samples, lambda page: "Look further" in page.text)
            )
    return results


def time_queries(
    client: httpx.Client, name: str, path: str, query: Query, samples: int, is_cut: Callable[[Any], bool]
) -> Result:
    """The 95th percentile. Each sample asks for something else if the query has a choice."""
    draw = random.Random(name)
    answers = [timed(client, path + query(draw)) for _ in range(samples)]
    cut = sum(is_cut(answer) for answer, _ in answers)
    named = f"{name}{f' ({cut} of {samples} end early)' if cut else ''}"
    return slow("ledger", named, [ms for _, ms in answers], at_most=MOST_MS)


def ends_early(answer: Any) -> bool:
    page = answer.json()
    return page["next"] is not None and len(page["results"]) < 50


def next_pages(api: httpx.Client, samples: int) -> Result:
    times_ms, path = [], "/api/requests?page_size=500"
    for _ in range(samples + 1):
        answer, ms = timed(api, path)
        times_ms.append(ms)
        path = answer.json()["next"]
    return slow("ledger", "API: next pages of 500", times_ms[1:], at_most=MOST_MS)


def api_queries(url: str, end: datetime) -> dict[str, Query]:
    with psycopg.connect(url) as connection:

        def some(statement: str) -> list[Any]:
            return [value for (value,) in connection.execute(statement)]

        key = some("SELECT max(id) FROM keys_virtualkey")[0] - KEYS + 1
        owners = some("SELECT DISTINCT owner_id FROM keys_virtualkey WHERE owner_id IS NOT NULL LIMIT 200")
        (rows,) = some(f"SELECT sum(reltuples)::bigint FROM pg_class WHERE relname LIKE '{TABLE}%' AND relkind = 'r'")
        sampled = f"FROM {TABLE} TABLESAMPLE SYSTEM ({min(100, 500_000 / max(rows, 1)):.3f})"
        ids = some(f"SELECT id {sampled} LIMIT 2000")
        correlations = some(f"SELECT correlation_id {sampled} WHERE correlation_id <> '' LIMIT 2000")
        responses = some(f"SELECT response_id {sampled} WHERE response_id <> '' LIMIT 2000")

    def moment(days: float) -> str:
        return quote((end - timedelta(days=days)).isoformat())

    def span(draw: random.Random, days: float) -> str:
        since = draw.uniform(days, DAYS)
        return f"created_after={moment(since)}&created_before={moment(since - days)}"

    return {
        "first page": lambda draw: "",
        "500 rows": lambda draw: "page_size=500",
        "from anywhere on": lambda draw: f"created_before={moment(draw.uniform(1, DAYS))}",
        "a busy key": lambda draw: f"key={key + draw.randrange(5)}",
        "any key": lambda draw: f"key={key + draw.randrange(KEYS)}",
        "a key that is not there": lambda draw: f"key={key + KEYS + draw.randrange(99)}",
        "project": lambda draw: f"project=project-{draw.randint(1, 50)}",
        "user": lambda draw: f"user={draw.choice(owners)}",
        "team": lambda draw: f"team={draw.randint(2, 100)}",
        "model": lambda draw: f"model=model-{draw.randrange(40)}",
        "a model that few rows have": lambda draw: f"model={RARE_MODEL}",
        "a model of more than 60 days ago": lambda draw: f"model={RETIRED_MODEL}",
        "a model that is not there": lambda draw: f"model={NO_MODEL}",
        "provider": lambda draw: f"provider=provider-{draw.randrange(6)}",
        "a provider that is not there": lambda draw: "provider=nobody",
        "status": lambda draw: f"status_code={draw.choice((200, 400, 429, 499, 502, 504))}",
        "a status that few rows have": lambda draw: f"status_code={RARE_STATUS}",
        "a status that is not there": lambda draw: "status_code=507",
        "outcome": lambda draw: f"outcome={draw.choice(('complete', 'refused', 'client_closed', 'upstream_error'))}",
        "an outcome that is not there": lambda draw: "outcome=internal_error",
        "endpoint": lambda draw: f"endpoint=/v1/{draw.choice(('embeddings', 'responses', 'chat/completions'))}",
        "stream": lambda draw: "stream=true",
        "an hour": lambda draw: span(draw, 1 / 24),
        "a day": lambda draw: span(draw, 1),
        "thirty days": lambda draw: span(draw, 30),
        "a busy key in a day": lambda draw: f"key={key + draw.randrange(5)}&{span(draw, 1)}",
        "a busy key and a status": lambda draw: f"key={key + draw.randrange(5)}&status_code=502",
        "a busy key and a rare model": lambda draw: f"key={key}&model={RARE_MODEL}",
        "a busy key and the old model": lambda draw: f"key={key}&model={RETIRED_MODEL}",
        "a busy key in another's project": lambda draw: f"key={key}&project=project-{draw.randint(10, 50)}",
        "a project and a model in thirty days": (
            lambda draw: f"project=project-{draw.randint(1, 50)}&model=model-{draw.randrange(40)}&{span(draw, 30)}"
        ),
        "a user and a failure": lambda draw: f"user={draw.choice(owners)}&outcome=upstream_error",
        "a rare model in thirty days": lambda draw: f"model={RARE_MODEL}&{span(draw, 30)}",
        "search: id": lambda draw: f"search={draw.choice(ids)}",
        "search: correlation id": lambda draw: f"search={draw.choice(correlations)}",
        "search: response id": lambda draw: f"search={draw.choice(responses)}",
        "search: models": lambda draw: f"search=model-{draw.randrange(4)}",
        "search: nothing": lambda draw: f"search=nothing-{draw.randrange(99)}",
        "correlation_id": lambda draw: f"correlation_id={draw.choice(correlations)}",
        "response_id": lambda draw: f"response_id={draw.choice(responses)}",
    }


@contextmanager
def signed_in(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.root, timeout=120, trust_env=False, follow_redirects=True) as admin:
        page = admin.get("/admin/login/").text
        csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert csrf
        form = {"csrfmiddlewaretoken": csrf[1], "username": "bench", "password": PASSWORD, "next": "/admin/"}
        admin.post("/admin/login/", data=form, headers={"referer": f"{server.root}/admin/login/"})
        yield admin


def admin_queries(url: str, end: datetime) -> dict[str, Query]:
    api = api_queries(url, end)

    def before(draw: random.Random) -> str:
        return f"created_at__lt={quote((end - timedelta(days=draw.uniform(1, DAYS))).isoformat(' '))}"

    def searched(kind: str) -> Query:
        return lambda draw: "q=" + api[f"search: {kind}"](draw).removeprefix("search=")

    return {
        "first page": lambda draw: "",
        "any page": lambda draw: f"p={draw.randint(2, 200)}",
        "from anywhere on": before,
        "outcome": lambda draw: f"outcome__exact={draw.choice(('complete', 'refused', 'client_closed'))}",
        "an outcome that is not there": lambda draw: "outcome__exact=internal_error",
        "status": lambda draw: f"status={draw.choice(('2xx', '4xx', '429', '499', '5xx'))}",
        "provider": lambda draw: f"provider=provider-{draw.randrange(6)}",
        "a provider that is not there": lambda draw: "provider=nobody",
        "stream and failures": lambda draw: "stream__exact=1&status=5xx",
        "a provider from anywhere on": lambda draw: f"provider=provider-{draw.randrange(6)}&{before(draw)}",
        **{f"search: {kind}": searched(kind) for kind in ("id", "correlation id", "response id", "models", "nothing")},
    }


# --- Writing -----------------------------------------------------------------------------------------------
def ingestion(servers: Servers, postgres: PostgresServer, directory: Path, url: str, count: int) -> list[Result]:
    """The real ledger process reads a real journal into PostgreSQL. Both run on the same core."""
    journal = directory / "journal"
    journal.mkdir()
    spool(journal, url, count)
    for pid in (postgres.pid, *machine.children(postgres.pid)):
        machine.pin(pid, machine.TESTED)
    machine.pin(0, machine.TESTED)
    before, used, began = machine.cpu_seconds(postgres.pid, ended=True), os.times(), time.monotonic()
    try:
        servers.manage(directory, "ledger", "--once", DATABASE_URL=url, JOURNAL_DIR=journal)
    finally:
        machine.pin(0, machine.REST)
    seconds = time.monotonic() - began
    consumer = os.times().children_user + os.times().children_system - used.children_user - used.children_system
    database = machine.cpu_seconds(postgres.pid, ended=True) - before
    if left := list(journal.glob("*.spool")):
        raise RuntimeError(f"{len(left)} segments are left in the journal")
    return [
        Result("ledger", "written, on one core", count / seconds, "events/s", at_least=LEAST_EVENTS),
        Result("ledger", "written, for a CPU second", count / (consumer + database), "events", at_least=LEAST_EVENTS),
        Result("ledger", "written: CPU of the consumer, its start included", consumer / count * 1e6, "µs for an event"),
        Result("ledger", "written: CPU of PostgreSQL", database / count * 1e6, "µs for an event"),
    ]


def spool(journal: Path, url: str, count: int) -> None:
    """Write segments of events like the newest rows. No process writes to these segments any more."""
    with psycopg.connect(url) as connection:
        likes: Sequence[Any] = connection.execute(
            f"SELECT key_id, project_id, user_id, team_id, provider, model, tags FROM {TABLE} "
            f"WHERE status_code = 200 ORDER BY id DESC LIMIT {SEGMENT}"
        ).fetchall()
    now = time.time()
    draw = random.Random(1)
    for first in range(0, count, SEGMENT):
        lines = [
            sealed(encode(event(number, now - (count - number) / 500, draw.choice(likes), draw)))
            for number in range(first, min(first + SEGMENT, count))
        ]
        name = f"{int(now * 1000) + first:013x}-{secrets.token_hex(4)}.spool"
        (journal / name).write_bytes(b"".join(lines))


def event(number: int, at: float, like: Sequence[Any], draw: random.Random) -> RequestEvent:
    key, project, user, team, provider, model, tags = like
    return RequestEvent(
        id=f"req_{int(at * 1000):012x}be9cbe9cbe{number:08x}", at=at, method="POST", path="/v1/chat/completions",
        status=200, outcome="complete", duration_ms=900 * draw.random(), key=key, project=project, user=user, team=team,
        provider=provider, credential="default", model=model, model_served="model-2026-04", tags=tuple(tags),
        stream=number % 3 == 0, attempts=1, prompt_tokens=draw.randrange(4_000), completion_tokens=draw.randrange(900),
        cached_tokens=0, reasoning_tokens=0, usage_source="provider", cost_picousd=draw.randrange(4 * 10**9),
        price_source="genai-prices", ttft_ms=200 * draw.random(), upstream_ms=800 * draw.random(), request_bytes=700,
        response_bytes=900, ip="10.0.0.1", response_id=f"chatcmpl-{draw.randbytes(16).hex()}", endpoint="chat",
        correlation_id=f"trace-{draw.randbytes(16).hex()}" if number % 10 == 0 else "", requests=1,
    )  # fmt: skip
