"""A million keys in the database against a thousand: latency of requests, memory of a process, latency of lists."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import httpx
import uvloop

from bench import machine
from bench.key_rows import SECRET, fill, token_of
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.wrk import BODY, Failed
from keys.tokens import hash_secret, new_salt
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.services.postgres import PostgresServer

MB = 1024 * 1024
PREFIX = "sk-sluice-"
FEW = 1_000
PASSWORD = "a-benchmarks-password"
CONTENT = json.dumps(BODY, separators=(",", ":")).encode()
MOST_MS = 1_000

LISTS = {
    "first page": "",
    "500 rows": "page_size=500",
    "by project": "project=project-7",
    "by owner": "owner=user-7",
    "by team": "team=team-7",
    "by project, active": "project=project-7&status=active",
    "active": "status=active",
    "inactive": "status=inactive",
    "expired": "status=expired",
    "revoked": "status=revoked",
    "by tag": "tag=tag-7",
    "by a tag that none has": "tag=nothing",
    "by name": "name=nothing",
    "search: very many": "search=customer",
    "search: one": "search=customer 4711",
    "search: none": "search=nothing at all",
}
PAGES = {
    "first page": "",
    "second page": "p=2",
    "last page": "p=100",
    "by project": "project__id__exact=7",
    "revoked": "status=revoked",
    "search: very many": "q=customer",
    "search: one": "q=customer+4711",
    "search: none": "q=nothing",
}


def keys(servers: Servers, *, quick: bool) -> list[Result]:
    many = 100_000 if quick else 1_000_000
    upstream = servers.nginx_answering()
    results = []
    with PostgresServer() as postgres:
        for database in ("SQLite", "PostgreSQL"):
            cold: dict[int, list[float]] = {}
            warm: dict[int, list[float]] = {}
            tested = {count: with_keys(servers, upstream, count, database, postgres) for count in (FEW, many)}
            for count, server in tested.items():
                numbers = [number for number in range(1, count + 1) if number % 100]
                cold[count] = latencies(server, random.sample(numbers, 900))
            for turn in range(5):
                for count, server in tested.items():
                    times_ms = latencies(server, [number for number in range(1, 1_001) if number % 100])
                    if turn:
                        warm.setdefault(count, []).append(median(times_ms))
            servers.end(tested.pop(FEW))
            for name, by_count in (("warm, of 990", warm), ("cold", cold)):
                results += [
                    middle("keys", f"{database}, {count:,}: p50, {name}", by_count[count], "ms")
                    for count in (FEW, many)
                ]
            results += growth_of(tested[many], database, 30_000 if quick else 200_000)
            machine.wait_until_idle([tested[many].pid])
            results += lists(tested[many], database)
            servers.end(tested[many])
    return results


def with_keys(servers: Servers, upstream: Server, count: int, database: str, postgres: PostgresServer) -> Server:
    url = postgres.url_of(postgres.create()) if database == "PostgreSQL" else ""
    directory = servers.directory / f"keys-{database}-{count}"
    directory.mkdir()
    url = url or f"sqlite:///{directory / 'sluice.sqlite3'}"
    settings = {"DATABASE_URL": url}
    servers.manage(directory, "migrate", "--verbosity", "0", **settings)
    servers.manage(directory, "projects", "create", "--name", "pattern", **settings)
    servers.manage(directory, "teams", "create", "--name", "pattern", **settings)
    servers.manage(
        directory,
        *("createsuperuser", "--noinput", "--username", "bench", "--email", "bench@example.org"),
        **{**settings, "DJANGO_SUPERUSER_PASSWORD": PASSWORD},
    )
    servers.manage(directory, "keys", "mint", "--name", "pattern", **settings)
    salt = new_salt()
    began = time.monotonic()
    fill(url, count, salt, hash_secret(SECRET, salt))
    print(f"keys: {count:,} rows in {database}: {time.monotonic() - began:.0f} s", flush=True)
    return servers.sluice_in(directory, upstream, **settings)


def latencies(server: Server, numbers: Sequence[int]) -> list[float]:
    """Latencies in milliseconds of one request after the other, each with another key."""
    times_ms: list[float] = []
    uvloop.run(ask_with(server, iter(numbers), times_ms))
    return times_ms


async def ask_with(server: Server, numbers: Iterator[int], times_ms: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"content-length: {len(CONTENT)}\r\nauthorization: Bearer "
    )
    for number in numbers:
        request = f"{head}{token_of(number, PREFIX)}\r\n\r\n".encode() + CONTENT
        began = time.perf_counter()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
        if not answer.startswith(b"HTTP/1.1 200 ") or length is None:
            raise Failed(f"with key {number}: {answer!r} {await reader.read(300)!r}")
        await reader.readexactly(int(length[1]))
        times_ms.append((time.perf_counter() - began) * 1e3)
    writer.close()


def growth_of(server: Server, database: str, count: int) -> list[Result]:
    async def all_of_them() -> None:
        numbers = iter([number for number in range(1, count * 100 // 99) if number % 100])
        await asyncio.gather(*(ask_with(server, numbers, []) for _ in range(32)))

    before = server.memory().rss / MB
    uvloop.run(all_of_them())
    time.sleep(2)
    after = server.memory().rss / MB
    return [
        Result("keys", f"{database}: RSS before", before, "MB"),
        Result("keys", f"{database}: RSS after {count:,} different keys", after, "MB", at_most=300),
    ]


def lists(server: Server, database: str) -> list[Result]:
    results = []
    token = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}
    with httpx.Client(base_url=server.root, headers=token, timeout=120, trust_env=False) as api:
        results += [slowest(api, f"{database}, API: {name}", f"/api/keys?{query}") for name, query in LISTS.items()]
        samples, path = [], "/api/keys"
        for _ in range(6):
            answer, ms = timed(api, path)
            samples.append(ms)
            path = answer.json()["next"]
        results.append(of_slowest(f"{database}, API: next pages", samples[1:]))
    with httpx.Client(base_url=server.root, timeout=120, trust_env=False, follow_redirects=True) as admin:
        page = admin.get("/admin/login/").text
        csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert csrf
        form = {"csrfmiddlewaretoken": csrf[1], "username": "bench", "password": PASSWORD, "next": "/admin/"}
        admin.post("/admin/login/", data=form, headers={"referer": f"{server.root}/admin/login/"})
        results += [
            slowest(admin, f"{database}, admin: {name}", f"/admin/keys/virtualkey/?{query}")
            for name, query in PAGES.items()
        ]
    return results


def slowest(client: httpx.Client, name: str, path: str) -> Result:
    samples = []
    for _ in range(5):
        samples.append(timed(client, path)[1])
        if samples[-1] > 10 * MOST_MS:
            break
    return of_slowest(name, samples)


def of_slowest(name: str, samples: list[float]) -> Result:
    return Result("keys", name, max(samples), "ms", at_most=MOST_MS, samples=samples)


def timed(client: httpx.Client, path: str) -> tuple[Any, float]:
    began = time.perf_counter()
    answer = client.get(path)
    ms = (time.perf_counter() - began) * 1e3
    if answer.status_code != 200 or "/login/" in str(answer.url):
        raise Failed(f"{path}: {answer.status_code} {answer.text[:300]}")
    return answer, ms
