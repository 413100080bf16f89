"""P11: each call to a provider is in the row, and the request is billed once, however many there were."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.kit.accounts import new_crew
from tests.kit.breaking import CHAT, MODEL, PRICE, STREAM, Charged, check_charged
from tests.kit.ledger import booked, rows_of, totals_of
from tests.kit.sluice import Sluice
from tests.kit.spending import post
from tests.kit.upstream import Received, Reset, Script, Upstream, chat_answer, chat_stream, error_answer, usage_of

pytestmark = pytest.mark.server(prices={MODEL: PRICE})

USED = Charged(30, 7, "provider")
ANSWER = chat_answer(usage=usage_of(30, 7))


@pytest.mark.parametrize(
    "body,answer", [(CHAT, ANSWER), (STREAM, chat_stream(usage=usage_of(30, 7)))], ids=["plain", "stream"]
)
def test_a_call_that_is_made_again_is_seen_and_billed_once(
    server: Sluice, upstream: Upstream, body: dict[str, Any], answer: Script
):
    """The provider closes a connection that was kept alive just when a request comes on it."""
    kept: set[int] = set()

    def answers(received: Received) -> Script:
        if json.loads(received.body).get("seed") == 1:
            kept.add(received.connection_id)
            return ANSWER
        return [Reset()] if received.connection_id in kept else answer

    first, crew = new_crew(server), new_crew(server, key={"budget": "1", "tpm": 100_000})
    upstream.script = answers
    assert post(server, first.token, **CHAT, seed=1).status == 200
    assert post(server, crew.token, **body).status == 200
    assert len(upstream.requests) == 3
    told = {"outcome": "complete", "error": "", "status_code": 200, "attempts": 2, "provider": "openai"}
    check_charged(server, upstream, crew, USED, **told)


def test_a_client_that_tries_again_has_a_row_for_each_and_pays_for_what_it_got(server: Sluice, upstream: Upstream):
    crew = new_crew(server)
    upstream.answers(error_answer(500), error_answer(429), ANSWER)
    client = server.openai(crew.token, max_retries=2)
    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    rows = rows_of(server, crew, 3)
    assert [row["status_code"] for row in rows] == [500, 429, 200]
    assert [row["attempts"] for row in rows] == [1, 1, 1]
    assert [row["cost_picousd"] for row in rows] == [0, 0, USED.picousd]
    assert totals_of(server, crew)["key"] == booked(server, crew) == USED.picousd


def test_what_asks_no_provider_has_no_attempt(server: Sluice, upstream: Upstream):
    crew = new_crew(server, key={"allowed_models": ["other"]})
    assert post(server, crew.token, **CHAT).status == 403
    [row] = rows_of(server, crew, 1)
    assert (row["attempts"], row["provider"], row["cost_picousd"], row["price_source"]) == (0, "", 0, "")
    assert upstream.requests == []


def test_many_at_once_are_billed_once_each(server: Sluice, upstream: Upstream):
    crew = new_crew(server)
    upstream.script = ANSWER
    threads = [threading.Thread(target=post, args=(server, crew.token), kwargs=CHAT) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = rows_of(server, crew, 20)
    assert len({row["id"] for row in rows}) == 20
    assert {row["cost_picousd"] for row in rows} == {USED.picousd}
    assert totals_of(server, crew)["key"] == 20 * USED.picousd == booked(server, crew)
