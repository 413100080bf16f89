"""P7: a reached budget blocks what costs, and nothing else; it says which one it is, and when it is free again."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import openai
import pytest

from tests.kit.accounts import Crew, new_crew
from tests.kit.management import MODEL, usd
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.spending import BOUNDED, COST, Books, post
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon

pytestmark = pytest.mark.server(prices={MODEL: {}})


def exhausted(server: Sluice, upstream: Upstream, **limits: Any) -> Crew:
    upstream.script = Books()
    crew = new_crew(server, team={"budget": usd(COST), **limits})
    assert post(server, crew.token, **BOUNDED).status == 200
    return crew


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_refusal_word_for_word(server: Sluice, upstream: Upstream, stream: bool):
    crew = exhausted(server, upstream, period="day", time_zone="UTC")
    got = post(server, crew.token, stream=stream, **BOUNDED)
    tomorrow = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), time(), UTC)
    team = crew.shown(server, "team")["name"]
    assert got.status == 429
    assert got.error == {
        "message": f"Budget reached: 0.001 of 0.001 USD are spent on team '{team}'. "
        f"It resets at {tomorrow:%Y-%m-%dT%H:%M:%SZ}.",
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_quota",
    }
    assert got.headers["content-type"] == "application/json"
    assert 0 < int(got.headers["retry-after"]) <= 86_400


def test_a_budget_without_a_period_says_that_waiting_does_not_help(server: Sluice, upstream: Upstream):
    got = post(server, exhausted(server, upstream).token, **BOUNDED)
    assert got.error["message"].endswith("Waiting does not help.")
    assert got.headers["x-should-retry"] == "false"


def test_a_request_beyond_the_whole_budget_is_told_when_it_resets_too(server: Sluice, upstream: Upstream):
    crew = new_crew(server, team={"budget": usd(COST // 10), "period": "day", "time_zone": "UTC"})
    got = post(server, crew.token, **BOUNDED)
    tomorrow = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), time(), UTC)
    assert got.error["message"].startswith("This request may cost ")
    assert got.error["message"].endswith(
        f"It resets at {tomorrow:%Y-%m-%dT%H:%M:%SZ}, but this request has no room even then."
    )
    assert got.headers["x-should-retry"] == "false"


def test_models_health_and_key_info_are_never_blocked(server: Sluice, upstream: Upstream):
    crew = exhausted(server, upstream)
    upstream.script = None
    for path in ("/v1/models", f"/v1/models/{MODEL}", "/health", "/live", "/ready", "/metrics"):
        assert ask(server, crew.token, path=path, method="GET").status_code in (200, 404), path
    assert ask(server, crew.token, path="/v1/models", method="GET").status_code == 200
    told = server.api("POST", "/api/keys/validate", json={"key": crew.token}).json()
    assert (told["valid"], told["error"]) == (True, None)


@pytest.mark.parametrize("period", ["total", "day", "month"])
def test_openai_s_sdk_raises_and_does_not_ask_again(server: Sluice, upstream: Upstream, period: str):
    crew = exhausted(server, upstream, period=period)
    client = server.openai(crew.token, max_retries=5)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=MODEL, max_tokens=1_000, messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "insufficient_quota"
    assert isinstance(caught.value.body, dict)
    assert "Budget reached" in caught.value.body["message"]

    def outcomes() -> list[str]:
        return [row["outcome"] for row in server.rows() if str(row["key_id"]) == crew.ids["key"]]

    soon(lambda: len(outcomes()) >= 2)
    assert outcomes() == ["complete", "refused"]
