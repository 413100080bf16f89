"""F102, F103: what a request's answer says of its limits, and a refusal of the limit that refused it, word by word."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.management import minted
from tests.kit.providers import new_provider
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, after, chat_answer, chat_stream, error_answer, usage_of
from tests.kit.waiting import soon

MODEL = "priced-model"
A_DAY_S = 86_400
MIDNIGHT = "<midnight>"
SECONDS = "<seconds>"
LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "5",
    "x-ratelimit-remaining-requests": "4",
    "x-ratelimit-limit-rpm": "5",
    "x-ratelimit-remaining-rpm": "4",
    "x-ratelimit-limit-tokens": "1000",
    "x-ratelimit-limit-tpm": "1000",
}
# The limits of a key, how many requests fill them, the refusal, and the longest that it may say to wait.
GOLDEN: dict[str, tuple[dict[str, Any], int, str, str, int]] = {
    "rpm": (
        {"rpm": 2},
        2,
        "rate_limit_exceeded",
        "Rate limit reached: 2 requests per minute on key 'golden-rpm'; 2 used, 1 asked for. "
        f"Try again in {SECONDS} s.",
        60,
    ),
    "tpm": (
        {"tpm": 100},
        1,
        "rate_limit_exceeded",
        "Rate limit reached: 100 tokens per minute on key 'golden-tpm'; 100 used, <asked> asked for. "
        f"Try again in {SECONDS} s.",
        60,
    ),
    "rps": (
        {"rps": 1, "rpm": 100_000},
        1,
        "rate_limit_exceeded",
        "Rate limit reached: 1 requests per second on key 'golden-rps'; 1 used, 1 asked for. "
        f"Try again in {SECONDS} s.",
        1,
    ),
    "daily": (
        {"daily": 2},
        2,
        "rate_limit_exceeded",
        f"Rate limit reached: 2 requests per day on key 'golden-daily'; 2 used, 1 asked for. It resets at {MIDNIGHT}.",
        A_DAY_S,
    ),
    "max_requests": (
        {"max_requests": 2},
        2,
        "insufficient_quota",
        "Quota used up: 2 requests in all on key 'golden-max_requests'; 2 used, 1 asked for. Waiting does not help.",
        A_DAY_S,
    ),
    "budget": (
        {"budget": "0.0002", "period": "day"},
        2,
        "insufficient_quota",
        f"Budget reached: 0.0002 of 0.0002 USD are spent on key 'golden-budget'. It resets at {MIDNIGHT}.",
        A_DAY_S,
    ),
    "budget for good": (
        {"budget": "0.0001"},
        1,
        "insufficient_quota",
        "Budget reached: 0.0001 of 0.0001 USD are spent on key 'golden-budget for good'. Waiting does not help.",
        A_DAY_S,
    ),
}


@pytest.fixture(scope="module")
def priced(sluice: Sluice, _upstream: Upstream) -> Sluice:
    new_provider(sluice, "priced", _upstream.url, models={MODEL: ""}, api_key="sk-x")
    assert sluice.api("POST", "/api/prices", json={"model": MODEL, "input": "1", "output": "1"}).is_success
    _, key = minted(sluice)
    soon(lambda: ask(sluice, key, model=MODEL).headers.get("x-provider") == "priced")
    return sluice


def as_pattern(message: str) -> str:
    text = re.escape(message)
    for name, pattern in {SECONDS: r"\d+", "<asked>": r"\d+", MIDNIGHT: r"\d{4}-\d\d-\d\dT00:00:00Z"}.items():
        text = text.replace(re.escape(name), pattern)
    return text


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_refusal_names_the_limit_its_scope_and_its_end(kind: str, priced: Sluice, upstream: Upstream):
    upstream.script = chat_answer(usage=usage_of(60, 40))
    limits, count, code, message, longest = GOLDEN[kind]
    _, key = minted(priced, name=f"golden-{kind}", **limits)
    for _ in range(count):
        assert ask(priced, key, model=MODEL, max_tokens=40).status_code == 200
    answer = ask(priced, key, model=MODEL, max_tokens=40)
    for _ in range(20):  # a second may be over between two requests
        if kind != "rps" or answer.status_code == 429:
            break
        answer = ask(priced, key, model=MODEL, max_tokens=40)
    error = refused(answer, 429, code)
    kind_of_error = "insufficient_quota" if code == "insufficient_quota" else "rate_limit_error"
    assert (error["type"], error["param"]) == (kind_of_error, None)
    assert re.fullmatch(as_pattern(message), error["message"]), error["message"]
    assert 1 <= int(answer.headers["retry-after"]) <= longest
    too_long = int(answer.headers["retry-after"]) > 60  # OpenAI's SDKs do not wait that long, and ask at once
    assert answer.headers.get("x-should-retry") == ("false" if too_long else None)


def test_a_refusal_for_want_of_a_slot(priced: Sluice, upstream: Upstream):
    _, key = minted(priced, name="golden-parallel", parallel=1)
    go_on = threading.Event()
    upstream.script = after(go_on, chat_answer())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, priced, key)
        upstream.wait_for(1)
        answer = ask(priced, key)
        go_on.set()
        running.result()
    error = refused(answer, 429, "rate_limit_exceeded")
    assert error["message"] == (
        "Rate limit reached: 1 requests at once on key 'golden-parallel'; 1 used, 1 asked for. "
        "Try again when one of them has ended."
    )
    assert answer.headers["retry-after"] == "1"


def test_a_request_larger_than_its_limit_is_told_so(priced: Sluice, upstream: Upstream):
    _, key = minted(priced, name="small", tpm=100)
    answer = ask(priced, key, max_tokens=1000)
    error = refused(answer, 429, "rate_limit_exceeded")
    assert re.fullmatch(
        r"This request needs \d+, more than the 100 tokens per minute on key 'small'. Waiting does not help.",
        error["message"],
    )
    assert answer.headers["x-should-retry"] == "false"
    _, key = minted(priced, name="poor", budget="0.0001")
    error = refused(ask(priced, key, model=MODEL, max_tokens=1000), 429, "insufficient_quota")
    assert re.fullmatch(
        r"This request may cost 0\.\d+ USD, more than the budget of 0.0001 USD on key 'poor'. Waiting does not help.",
        error["message"],
    )
    assert upstream.requests == []


@pytest.mark.parametrize("answered", ["plain", "stream", "provider's error", "unreachable", "refused"])
def test_every_answer_tells_where_the_limits_stand(answered: str, priced: Sluice, upstream: Upstream):
    """Also where the provider has limits of its own: theirs are not this key's."""
    theirs = {"x-ratelimit-limit-requests": "9", "x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "9s"}
    _, key = minted(priced, rpm=5, tpm=1000)
    more: dict[str, Any] = {"max_tokens": 40}
    upstream.script = {
        "stream": chat_stream(headers=theirs),
        "provider's error": error_answer(429, **{name.replace("-", "_"): value for name, value in theirs.items()}),
    }.get(answered) or chat_answer(headers=theirs)
    if answered == "stream":
        more["stream"] = True
    if answered == "unreachable":
        new_provider(priced, "gone", "http://127.0.0.1:9/v1", models={"gone": ""}, api_key="sk-x")
        probe = minted(priced)[1]
        soon(lambda: ask(priced, probe, model="gone").status_code == 502)
        more["model"] = "gone"
    if answered == "refused":
        more["max_tokens"] = 5000
    answer = ask(priced, key, **more)
    assert answer.status_code == {"provider's error": 429, "unreachable": 502, "refused": 429}.get(answered, 200)
    taken = 1 if answered != "refused" else 0
    expected = {
        **LIMIT_HEADERS,
        "x-ratelimit-remaining-requests": str(5 - taken),
        "x-ratelimit-remaining-rpm": str(5 - taken),
    }
    found = {name: answer.headers.get_list(name) for name in answer.headers if name.startswith("x-ratelimit-")}
    assert {name: found[name] for name in expected} == {name: [value] for name, value in expected.items()}
    for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"):
        [reset] = found[name]
        assert 0 <= float(re.fullmatch(r"(\d+\.\d{3})s", reset)[1]) <= 60  # type: ignore[index]
    assert found["x-ratelimit-remaining-tokens"] == found["x-ratelimit-remaining-tpm"]
    assert 0 <= int(found["x-ratelimit-remaining-tokens"][0]) <= 1000
    assert 0 <= int(found["x-ratelimit-reset"][0]) <= 60


def test_every_429_says_when_to_try_again_also_a_provider_s(priced: Sluice, upstream: Upstream):
    _, key = minted(priced)
    upstream.script = error_answer(429, retry_after="7")
    assert ask(priced, key).headers["retry-after"] == "7"
    upstream.script = error_answer(429)
    assert int(ask(priced, key).headers["retry-after"]) >= 1
    upstream.script = error_answer(503)
    assert int(ask(priced, key).headers["retry-after"]) >= 1


def test_a_page_may_read_them(priced: Sluice, upstream: Upstream):
    """A browser shows a page those headers alone that the answer names."""
    project = priced.api(
        "POST", "/api/projects", json={"name": "pages", "allowed_origins": ["https://page.example"]}
    ).json()["id"]
    _, key = minted(priced, project=project, rpm=5, tpm=1000)
    soon(lambda: "access-control-expose-headers" in ask_from(priced, key).headers)
    answer = ask_from(priced, key)
    exposed = set(re.split(r", *", answer.headers["access-control-expose-headers"]))
    told = {name for name in answer.headers if name.startswith("x-ratelimit-")}
    assert told
    assert told | {"retry-after", "x-should-retry"} <= exposed


def ask_from(server: Sluice, key: str) -> Any:
    return ask(server, key, headers={"origin": "https://page.example"}, max_tokens=10)


def test_the_nearest_to_its_limit_is_told(priced: Sluice, upstream: Upstream):
    project = priced.api("POST", "/api/projects", json={"name": "near", "rpm": 3}).json()["id"]
    _, key = minted(priced, project=project, rpm=100)
    told = [ask(priced, key).headers["x-ratelimit-remaining-requests"] for _ in range(4)]
    assert told == ["2", "1", "0", "0"]
