"""X11: no request is unwritable. Whatever a client or a provider sends, its row is in the ledger, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kit.databases import EACH_DATABASE
from tests.kit.ledger import row_of
from tests.kit.management import minted
from tests.kit.requests import CHAT, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, json_answer, usage_of

pytestmark = pytest.mark.server(each=EACH_DATABASE)

HUGE = 2**53 - 1


@pytest.fixture(autouse=True)
def _nothing_is_quarantined(server: Sluice, upstream: Upstream) -> Iterator[None]:
    yield
    assert server.metrics().total("llm_proxy_journal_lines_set_aside_total", consumer="ledger") == 0


LONG = "a" * 2_000
PATHS = {
    "long": f"/v1/thoughts/{LONG}",
    "forgiven slashes": "/v1" + "/" * 300 + "chat/completions",
    "nul": "/v1/chat/completions%00",
    "nul in the middle": "/v1/thoughts/a%00b",
    "half a pair": "/v1/thoughts/%ed%a0%80",
    "no text": "/v1/thoughts/%ff%fe",
    "long and nul": f"/v1/thoughts/{'b' * 199}%00{LONG}",
    "line ends": "/v1/thoughts/a%0a%0d",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_whatever_the_path_it_has_a_row(method: str, path: str, server: Sluice, upstream: Upstream):
    _, key = minted(server)
    row = row_of(server, ask(server, key, path=path, method=method).headers["x-request-id"])
    assert row["endpoint"].startswith("/v1/")
    assert len(row["endpoint"]) <= 200


def test_a_paid_answer_at_a_long_target_is_paid_by_its_key(server: Sluice, upstream: Upstream):
    key_id, key = minted(server)
    upstream.answers(chat_answer(usage=usage_of(3, 4)))
    path = "/v1/chat/completions?" + "a" * 2_000
    row = row_of(server, ask(server, key, path=path).headers["x-request-id"])
    assert (row["status_code"], row["key_id"], row["prompt_tokens"], row["completion_tokens"]) == (200, key_id, 3, 4)


@pytest.mark.parametrize("model", ["m" * 200, "m" * 5_000, "nul\0", "\ud800", "\ud83d\ude00", "line\nend", "ü\u2028"])
def test_whatever_the_model_it_has_a_row(model: str, server: Sluice, upstream: Upstream):
    _, key = minted(server)
    row_of(server, ask(server, key, content=json.dumps({**CHAT, "model": model}).encode()).headers["x-request-id"])
    assert server.metrics(), "no name of a model spoils the metrics"


@pytest.mark.parametrize("correlation_id", [b"c" * 3_000, b"\xff\xfe", b"\xed\xa0\x80", b"{}\\\"'"])
def test_whatever_the_correlation_id_it_has_a_row(correlation_id: bytes, server: Sluice, upstream: Upstream):
    _, key = minted(server)
    headers = [(b"x-correlation-id", correlation_id)]
    answer = server.client(key).post("/v1/chat/completions", json=CHAT, headers=headers)
    row_of(server, answer.headers["x-request-id"])


@pytest.mark.parametrize("answer_id", ["i" * 3_000, "nul\0", "\ud800", "line\nend"])
def test_whatever_a_provider_calls_its_answer_it_has_a_row(answer_id: str, server: Sluice, upstream: Upstream):
    _, key = minted(server)
    document = {"id": answer_id, "object": "chat.completion", "choices": [], "usage": usage_of(1, 2)}
    upstream.answers(json_answer(document))
    row = row_of(server, ask(server, key).headers["x-request-id"])
    assert (row["status_code"], row["prompt_tokens"]) == (200, 1)


def test_counts_beyond_belief_do_not_spoil_the_sums(server: Sluice, upstream: Upstream):
    """Each fits into its column; a thousand of them did not fit into a sum."""
    _, key = minted(server)
    for _ in range(3):
        upstream.answers(chat_answer(usage=usage_of(HUGE, HUGE, prompt_tokens_details={"cached_tokens": HUGE})))
        row = row_of(server, ask(server, key).headers["x-request-id"])
        assert 0 < row["prompt_tokens"] < HUGE
        assert 0 < row["cached_tokens"] < HUGE


def test_tags_and_methods_of_any_kind_have_a_row(server: Sluice, upstream: Upstream):
    _, key = minted(server, tags=["ü", "a\tb", "x" * 3_000])
    for method in ("GET", "DELETE", "PROPPATCH", "SUBSCRIBE"):
        answer = ask(server, key, path="/v1/thoughts/x", method=method)
        assert row_of(server, answer.headers["x-request-id"])["tags"] == ["ü", "a\tb", "x" * 3_000]
