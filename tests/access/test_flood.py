"""P17: made-up keys cost the database little, and keep nobody out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from keys.tokens import Token, new_token, read_token, write_token
from tests.kit.databases import query
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

TOKENS, CONNECTIONS = 2000, 100


def transactions(server: Sluice) -> int:
    """Of the whole database; a process tells PostgreSQL of its own about once a second."""
    time.sleep(1.5)
    name = server.database_url.rpartition("/")[2]
    rows = query(server.database_url, f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}'")
    return int(rows[0]["xact_commit"])


async def flood(port: int, tokens: list[str]) -> Counter[bytes]:
    """Over many connections at once; each answer's status line."""
    statuses: Counter[bytes] = Counter()

    async def ask_for(some: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for token in some:
            writer.write(f"GET /v1/files HTTP/1.1\r\nhost: s\r\nx-api-key: {token}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            statuses[head.split(b"\r\n")[0]] += 1
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
        writer.close()

    share = len(tokens) // CONNECTIONS
    await asyncio.gather(*(ask_for(tokens[at * share : (at + 1) * share]) for at in range(CONNECTIONS)))
    return statuses


def test_a_flood_of_made_up_keys_does_not_reach_the_database_once_each(on_postgres: Sluice, upstream: Upstream):
    key = on_postgres.mint()
    assert ask(on_postgres, key).status_code == 200
    tokens = [write_token(new_token(), "sk-sluice-") for _ in range(TOKENS)]
    before = transactions(on_postgres)
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(asyncio.run, flood(on_postgres.port, tokens))
        while not flooding.done():
            assert ask(on_postgres, key).status_code == 200
    assert flooding.result() == {b"HTTP/1.1 401 Unauthorized": TOKENS}
    spent = transactions(on_postgres) - before
    # The looks for news and the ledger's batches are in this number as well.
    assert spent < TOKENS / 4
    assert {r.path for r in upstream.requests} == {"/v1/chat/completions"}


def test_a_flood_of_guessed_secrets_of_a_known_key_does_not_reach_the_database(on_postgres: Sluice, upstream: Upstream):
    """Nor is its owner kept out, before, meanwhile or after; and none of the guesses counts for the key's limits."""
    key = on_postgres.mint(max_requests=3)
    assert ask(on_postgres, key).status_code == 200
    public_id = read_token(key, "sk-sluice-").public_id
    tokens = [write_token(Token(public_id, new_token().secret), "sk-sluice-") for _ in range(TOKENS)]
    before = transactions(on_postgres)
    began = time.monotonic()
    assert asyncio.run(flood(on_postgres.port, tokens)) == {b"HTTP/1.1 401 Unauthorized": TOKENS}
    took = time.monotonic() - began
    assert transactions(on_postgres) - before < 60 + 40 * took
    assert [ask(on_postgres, key).status_code for _ in range(3)] == [200, 200, 429]


def test_one_made_up_key_again_and_again_is_looked_up_once(on_postgres: Sluice, upstream: Upstream):
    token = write_token(new_token(), "sk-sluice-")
    before = transactions(on_postgres)
    began = time.monotonic()
    assert asyncio.run(flood(on_postgres.port, [token] * TOKENS)) == {b"HTTP/1.1 401 Unauthorized": TOKENS}
    took = time.monotonic() - began
    assert transactions(on_postgres) - before < 60 + 40 * took


def test_keys_that_cannot_be_any_are_refused_without_a_look_up(on_postgres: Sluice, upstream: Upstream):
    tokens = [write_token(new_token(), "sk-sluice-")[:-1] + "x" for _ in range(TOKENS)]
    before = transactions(on_postgres)
    began = time.monotonic()
    assert asyncio.run(flood(on_postgres.port, tokens)) == {b"HTTP/1.1 401 Unauthorized": TOKENS}
    took = time.monotonic() - began
    # Two looks for news and ten batches of the ledger a second, of several transactions each, and what `transactions`
    # itself waits for.
    assert transactions(on_postgres) - before < 60 + 40 * took


def test_a_key_that_was_asked_for_while_it_was_made_up_is_found_once_it_is_made(sluice: Sluice, upstream: Upstream):
    """What is remembered as missing must not outlive a new key."""
    for _ in range(20):
        ask(sluice, write_token(new_token(), "sk-sluice-"))
    for _ in range(10):
        assert ask(sluice, sluice.mint()).status_code == 200
