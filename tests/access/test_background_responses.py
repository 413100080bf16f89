"""X3: a response in the background is paid by who asked for it, whoever fetches it, and whatever restarts."""

from __future__ import annotations

import threading
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest

from tests.kit.management import minted
from tests.kit.requests import MODEL, ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, frame, json_answer, sse
from tests.kit.upstream.answers import response_object, response_usage
from tests.kit.waiting import soon

# gpt-4.1-mini: 0.4 USD for a million input tokens, 1.6 output.
USAGE = response_usage(1000, 200)
COST = (1000 * Decimal("0.4") + 200 * Decimal("1.6")) / 1_000_000
_serial = count(1)


class Maker:
    """A provider that makes responses in the background until it is told that they are over."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.over: dict[str, dict[str, Any]] = {}
        self.polls: list[Received] = []

    def response(self, response_id: str, status: str) -> dict[str, Any]:
        usage = USAGE if status == "completed" else None
        made = {**response_object("hi"), "id": response_id, "status": status, "background": True, "usage": usage}
        return made if status == "completed" else {**made, "output": []}

    def end(self, response_id: str, status: str = "completed") -> None:
        with self.lock:
            self.over[response_id] = self.response(response_id, status)

    def __call__(self, received: Received) -> Script:
        with self.lock:
            if received.method == "POST" and received.path.endswith("/responses"):
                made = self.response(f"resp_bg{next(_serial)}", "queued")
                if received.json().get("stream"):
                    return sse([frame({"type": "response.created", "response": made}, "response.created")])
                return json_answer(made)
            response_id = received.path.split("/")[3]
            self.polls.append(received)
            return json_answer(self.over.get(response_id) or self.response(response_id, "in_progress"))


@pytest.fixture
def maker(upstream: Upstream) -> Maker:
    upstream.script = found = Maker()
    return found


def begin(server: Sluice, key: str, **body: Any) -> httpx.Response:
    return ask(server, key, path="/v1/responses", input="hi", background=True, **body)


def create_response(server: Sluice, key: str, **body: Any) -> str:
    answer = begin(server, key, **body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def rows_of(server: Sluice, response_id: str) -> list[dict[str, Any]]:
    """Those that cost something, or whose cost is not known."""
    found = [row for row in server.rows() if row["response_id"] == response_id]
    return [row for row in found if row["cost_usd"] != 0]


def settled(server: Sluice, response_id: str) -> dict[str, Any]:
    soon(lambda: rows_of(server, response_id))
    [row] = rows_of(server, response_id)
    return row


def fetch(server: Sluice, key: str, response_id: str, rest: str = "", method: str = "GET") -> None:
    answer = ask(server, key, path=f"/v1/responses/{response_id}{rest}", method=method, content=b"")
    assert answer.status_code == 200, answer.text


def test_it_costs_its_key_what_it_took_once(sluice: Sluice, upstream: Upstream, maker: Maker):
    key_id, key = minted(sluice, budget="10")
    response_id = create_response(sluice, key)
    fetch(sluice, key, response_id)
    maker.end(response_id)
    for _ in range(3):
        fetch(sluice, key, response_id)
    row = settled(sluice, response_id)
    assert Decimal(str(row["cost_usd"])) == COST
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (1000, 200, "provider")
    told = sluice.api("GET", f"/api/requests/{row['id']}").json()
    assert (told["key"], told["model"], told["endpoint"]) == (key_id, MODEL, f"/v1/responses/{response_id}")
    soon(lambda: Decimal(sluice.api("GET", f"/api/keys/{key_id}").json()["spent"]) == COST)


def test_nobody_has_to_fetch_it(sluice: Sluice, upstream: Upstream, maker: Maker):
    _, key = minted(sluice, budget="10", allowed_models=[MODEL])
    response_id = create_response(sluice, key)
    maker.end(response_id)
    assert Decimal(str(settled(sluice, response_id)["cost_usd"])) == COST
    [poll] = maker.polls[-1:]
    assert poll.header("authorization") == "Bearer sk-upstream-canary-3f9c1e"


def test_what_it_may_cost_is_held_until_it_is_over(sluice: Sluice, upstream: Upstream, maker: Maker):
    _, key = minted(sluice, budget="0.0002")
    first = create_response(sluice, key, max_output_tokens=100)
    refused(begin(sluice, key, max_output_tokens=100), 429, "insufficient_quota")
    maker.over[first] = {**maker.response(first, "completed"), "usage": response_usage(1, 1)}
    settled(sluice, first)
    soon(lambda: begin(sluice, key, max_output_tokens=100).status_code == 200)


def test_it_stops_at_the_budget(sluice: Sluice, upstream: Upstream, maker: Maker):
    _, key = minted(sluice, budget="0.0001")
    response_id = create_response(sluice, key)
    maker.end(response_id)
    settled(sluice, response_id)
    assert {begin(sluice, key).status_code for _ in range(10)} == {429}


def test_one_that_is_cancelled_costs_what_it_told(sluice: Sluice, upstream: Upstream, maker: Maker):
    _, key = minted(sluice, budget="10", parallel=1)
    response_id = create_response(sluice, key)
    refused(begin(sluice, key), 429, "rate_limit_exceeded")
    maker.end(response_id, "cancelled")
    answer = ask(sluice, key, path=f"/v1/responses/{response_id}/cancel", content=b"")
    assert answer.status_code == 429  # it is a request as well
    soon(lambda: begin(sluice, key).status_code == 200)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_deleting_it_at_once_does_not_make_it_free(sluice: Sluice, upstream: Upstream, maker: Maker, method: str):
    _, key = minted(sluice, budget="10")
    response_id = create_response(sluice, key)
    maker.end(response_id)
    fetch(sluice, key, response_id, method=method)
    upstream.script = json_answer({"error": {"message": "not found"}}, status=404)
    assert Decimal(str(settled(sluice, response_id)["cost_usd"])) == COST


def test_a_stream_that_its_client_leaves_goes_on(sluice: Sluice, upstream: Upstream, maker: Maker):
    _, key = minted(sluice, budget="10")
    text = begin(sluice, key, stream=True).text
    response_id = text.split('"id":')[1].split('"')[1]
    maker.end(response_id)
    assert Decimal(str(settled(sluice, response_id)["cost_usd"])) == COST


def test_a_list_of_models_holds(sluice: Sluice, upstream: Upstream, maker: Maker):
    _, key = minted(sluice, allowed_models=["gpt-4o"])
    refused(begin(sluice, key), 403, "model_not_allowed")
    for odd in (1, "true", [True]):
        answer = ask(sluice, key, path="/v1/responses", model="gpt-4o", input="hi", background=odd)
        refused(answer, 403, "endpoint_not_metered")


def test_one_that_its_provider_has_lost_keeps_what_was_reserved(sluice: Sluice, upstream: Upstream, maker: Maker):
    _, key = minted(sluice, budget="0.0002")
    response_id = create_response(sluice, key, max_output_tokens=100)
    upstream.script = json_answer({"error": {"message": "not found"}}, status=404)
    row = settled(sluice, response_id)
    assert (row["cost_usd"], row["outcome"], row["status_code"]) == (None, "upstream_error", 404)
    upstream.script = maker
    refused(begin(sluice, key, max_output_tokens=100), 429, "insufficient_quota")


def test_a_restart_loses_none(start_sluice, upstream: Upstream, maker: Maker):
    server = start_sluice()
    key_id, key = minted(server, budget="10")
    ids = [create_response(server, key) for _ in range(2)]
    server.rows(expect=2)
    assert server.stop() == 0
    for response_id in ids:
        maker.end(response_id)
    server.launch()
    for response_id in ids:
        assert Decimal(str(settled(server, response_id)["cost_usd"])) == COST
    assert Decimal(server.api("GET", f"/api/keys/{key_id}").json()["spent"]) == 2 * COST
