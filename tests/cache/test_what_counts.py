"""P29: every part of a request that can change its answer counts, and nothing else that a client sends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.caching import cache_of, key_of_project, question, serial
from tests.kit.management import changed
from tests.kit.providers import add_provider
from tests.kit.requests import ask
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

pytestmark = pytest.mark.key(project={"cache_policy": "on"})

MUTATIONS: dict[str, Any] = {
    "model": "gpt-4.1",
    "temperature": 0.5,
    "top_p": 0.9,
    "n": 2,
    "seed": 7,
    "stop": ["x"],
    "max_tokens": 5,
    "max_completion_tokens": 6,
    "presence_penalty": 1,
    "frequency_penalty": 1,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "user": "somebody",
    "safety_identifier": "somebody",
    "service_tier": "flex",
    "modalities": ["text"],
    "prediction": {"type": "content", "content": "x"},
    "metadata": {"a": "b"},
    "verbosity": "low",
    "an_unknown_member": 1,
    "messages": [{"role": "system", "content": "hi"}],
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_member_of_a_body_counts(sluice: Sluice, key: str, name: str):
    asked = question()
    assert cache_of(ask(sluice, key, **asked)) == "MISS"
    assert cache_of(ask(sluice, key, **{**asked, name: MUTATIONS[name]})) == "MISS"


def test_a_header_that_the_provider_sees_counts(sluice: Sluice, key: str):
    asked = question()
    ask(sluice, key, **asked)
    assert cache_of(ask(sluice, key, headers={"openai-beta": "x"}, **asked)) == "MISS"
    assert cache_of(ask(sluice, key, headers={"content-type": "application/json; charset=sjis"}, **asked)) == "MISS"
    assert cache_of(ask(sluice, key, headers={"user-agent": "another", "x-stainless-lang": "js"}, **asked)) == "HIT"


FORGED = ("x-cache-key", "x-cache", "x-sluice-cache-key", "if-none-match", "x-project", "x-forwarded-for")


@pytest.mark.parametrize("name", FORGED)
def test_no_header_leads_to_anothers_entry(sluice: Sluice, upstream: Upstream, key: str, name: str):
    secret = ask(sluice, key, **question())
    stolen = ask(sluice, key_of_project(sluice), headers={name: secret.headers["x-cache-key"]}, **question())
    assert cache_of(stolen) == "MISS"
    assert len(upstream.requests) == 2


AMBIGUOUS = {
    "a name twice": b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"a","content":"b"}]}',
    "a name twice, escaped": b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"a","c\\u006fntent":"b"}]}',
    "half a character": b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"\\ud83d"}]}',
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_not_cached(sluice: Sluice, key: str, what: str):
    headers = {"content-type": "application/json"}
    both = [ask(sluice, key, content=AMBIGUOUS[what], headers=headers) for _ in range(2)]
    assert [cache_of(each) for each in both] == ["BYPASS", "BYPASS"]


def test_a_provider_that_is_switched_off_answers_no_more(sluice: Sluice, upstream: Upstream):
    key = key_of_project(sluice)
    name = f"provider-{next(serial)}"
    add_provider(sluice, upstream.url, name, {"special-model": "theirs"})
    provider = sluice.api("GET", f"/api/providers/?name={name}").json()["results"][0]["id"]
    asked = {**question(), "model": "special-model"}
    assert [cache_of(ask(sluice, key, **asked)) for _ in range(2)] == ["MISS", "HIT"]
    changed(sluice, f"/api/providers/{provider}/", models={"special-model": "another"})
    assert processes.poll(lambda: cache_of(ask(sluice, key, **asked)) == "MISS", timeout=10)
    assert upstream.requests[-1].json()["model"] == "another"
