"""The database tier of the response cache with a million entries: answers, lists, pruning and purges."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from bench.result import Result, middle, slow
from bench.servers import Server, Servers
from bench.wrk import BODY, Failed
from tests.kit import plain
from tests.kit.databases import execute, query
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.services.postgres import PostgresServer

MOST_MS = 1_000
COLUMNS = (
    "name, project_id, path, model, stream, provider_id, served_model, request_id, response_id, created_at, "
    "expires_at, purge, size, hit_count, last_hit_at, packed"
)
FILL = {
    "PostgreSQL": """
        INSERT INTO cache_cachedresponse ({columns})
        SELECT encode(sha256(number::text::bytea), 'hex') || 'p', 100 + number % 50, path, 'model-' || number % 20,
          false, provider_id, served_model, 'req_' || number, 'resp_' || number, now() - number * interval '10 ms',
          CASE WHEN number % 100 = 0 THEN now() - interval '1 s' ELSE now() + interval '1 day' END, 0, size,
          number % 7, CASE WHEN number % 7 > 0 THEN now() - number * interval '5 ms' END, packed
        FROM generate_series(1, {count}) AS number, (SELECT * FROM cache_cachedresponse LIMIT 1) AS pattern
    """,
    "SQLite": """
        WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {count})
        INSERT INTO cache_cachedresponse ({columns})
        SELECT printf('%064x', number * 2654435761 % 2147483648 * 4294967296 + number) || 'p', 100 + number % 50, path,
          'model-' || number % 20, false, provider_id, served_model, 'req_' || number, 'resp_' || number,
          strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (number / 100.0) || ' seconds'),
          strftime('%Y-%m-%d %H:%M:%f', 'now', CASE WHEN number % 100 = 0 THEN '-1 seconds' ELSE '+1 days' END), 0,
          size, number % 7, CASE WHEN number % 7 > 0 THEN strftime('%Y-%m-%d %H:%M:%f', 'now') END, packed
        FROM numbers, (SELECT * FROM cache_cachedresponse LIMIT 1) AS pattern
    """,
}


def cache_rows(servers: Servers, *, quick: bool) -> list[Result]:
    """One server whose memory holds nothing for long, and a row for each of a million questions beside its own."""
    count = 100_000 if quick else 1_000_000
    upstream = servers.nginx_answering()
    results: list[Result] = []
    with PostgresServer() as postgres:
        for database in ("SQLite", "PostgreSQL"):
            url = postgres.url_of(postgres.create()) if database == "PostgreSQL" else ""
            directory = servers.directory / f"cache-{database}"
            directory.mkdir()
            settings: dict[str, Any] = {
                "DATABASE_URL": url or f"sqlite:///{directory / 'sluice.sqlite3'}",
                "HTTP_CACHE_DEFAULT_POLICY": "on",
                "HTTP_CACHE_DEFAULT_TTL": 86_400,
                "HTTP_CACHE_STORE_BYTES": 10**12,
                "HTTP_CACHE_MEMORY_BYTES": 1024**2,
            }
            servers.manage(directory, "migrate", "--verbosity", "0", **settings)
            minted = json.loads(servers.manage(directory, "keys", "mint", "--name", "bench", "--json", **settings))
            server = servers.sluice_in(directory, upstream, **settings)
            server.key = minted["key"]
            results += with_rows(servers, server, database, count, directory, settings)
            servers.end(server)
    return results


def with_rows(
    servers: Servers, server: Server, database: str, count: int, directory: Any, settings: dict[str, Any]
) -> list[Result]:
    url = settings["DATABASE_URL"]
    questions = [question(number) for number in range(200)]
    for each in questions:
        ask(server, each, "MISS")
    until(lambda: count_of(url) == len(questions))
    began = time.monotonic()
    execute(url, FILL[database].format(columns=COLUMNS, count=count))
    execute(url, "ANALYZE")
    print(f"cache-rows: {count:,} rows in {database}: {time.monotonic() - began:.0f} s", flush=True)
    forget(server)

    def name(what: str) -> str:
        return f"{database}, {count:,}: {what}"

    hits = [timed(lambda: ask(server, each, "HIT")) for each in questions[:100]]  # noqa: B023 (called at once)
    new = [timed(lambda: ask(server, question(10**6 + number), "MISS")) for number in range(100)]  # noqa: B023
    one = f"/api/responses/{key_in(url)}"
    detail = [timed(lambda: get(server, one)) for _ in range(5)]
    pages = {path: [timed(lambda: get(server, path)) for _ in range(5)] for path in PAGES}  # noqa: B023
    pruned = float(servers.manage(directory, "shell", "-v0", "-c", PRUNE, **settings))
    some = timed(lambda: post(server, {"cache_key": "0" * 64}))
    project = timed(lambda: post(server, {"project": 101}))
    everything = timed(lambda: post(server, {"all": True}))
    hidden = timed(lambda: get(server, PAGES[0]))
    return [
        slow("cache-rows", name("a hit in the database"), hits, at_most=MOST_MS),
        slow("cache-rows", name("a miss"), new, at_most=MOST_MS),
        middle("cache-rows", name("/api/responses/KEY"), detail, "ms", at_most=MOST_MS),
        *(middle("cache-rows", name(path), times, "ms", at_most=MOST_MS) for path, times in pages.items()),
        Result("cache-rows", name(f"prune {count // 100:,}"), pruned, "ms", at_most=MOST_MS),
        Result("cache-rows", name("purge one"), some, "ms", at_most=MOST_MS),
        Result("cache-rows", name(f"purge a project of {count // 50:,}"), project, "ms", at_most=MOST_MS),
        Result("cache-rows", name("purge all"), everything, "ms", at_most=MOST_MS),
        Result("cache-rows", name("/api/responses while all are hidden"), hidden, "ms", at_most=MOST_MS),
    ]


PRUNE = (
    "import time; from cache.purge import prune; began = time.perf_counter(); prune(); "
    "print((time.perf_counter() - began) * 1000)"
)
PAGES = (
    *("/api/responses", "/api/responses?project=107", "/api/responses?model=model-3", "/api/responses?model=none"),
    "/api/cache",
)


def question(number: int) -> dict[str, Any]:
    return {**BODY, "seed": number}


def ask(server: Server, body: dict[str, Any], cache: str) -> None:
    headers = {"authorization": f"Bearer {server.key}"}
    answer = plain.post(f"{server.url}/chat/completions", json=body, headers=headers)
    if answer.status_code != 200 or answer.headers["x-cache"] != cache:
        raise Failed(f"{answer.status_code} {answer.headers.get('x-cache')}, not {cache}: {answer.text[:300]}")


def forget(server: Server) -> None:
    """Fill the memory of the process with other answers."""
    for number in range(2_000_000, 2_000_600):
        ask(server, question(number), "MISS")


def get(server: Server, path: str) -> None:
    answer = plain.get(server.url.removesuffix("/v1") + path, headers={"authorization": f"Bearer {MANAGEMENT_TOKEN}"})
    if answer.status_code != 200:
        raise Failed(f"{path}: {answer.status_code} {answer.text[:300]}")


def post(server: Server, body: dict[str, Any]) -> None:
    address = server.url.removesuffix("/v1") + "/api/cache/purge"
    answer = plain.post(address, json=body, headers={"authorization": f"Bearer {MANAGEMENT_TOKEN}"})
    if answer.status_code != 201:
        raise Failed(f"{body}: {answer.status_code} {answer.text[:300]}")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def count_of(url: str) -> int:
    return int(query(url, "SELECT count(*) AS rows FROM cache_cachedresponse")[0]["rows"])


def key_in(url: str) -> str:
    """Of a row that is in use: expired ones are not shown."""
    statement = "SELECT name FROM cache_cachedresponse WHERE request_id = 'req_77777'"
    return str(query(url, statement)[0]["name"])[:64]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline:
            raise Failed("the answers are not in the database after 30 s")
        time.sleep(0.1)
