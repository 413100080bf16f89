"""F52–F55, F5: who answers for a model, under which name."""

from __future__ import annotations

import random
from collections import Counter
from math import sqrt

import pytest

from providers.catalog import Candidate, Catalog, NoProvider, choose, record_of
from providers.models import Provider
from tests.kit.management import changed, minted
from tests.kit.providers import AddProvider, let_changes_arrive
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, chat_stream
from tests.kit.waiting import in_force

DRAWS = 2000
Z99 = 2.576


def candidate(name: str, weight: int, priority: int = 0, pk: int = 1) -> Candidate:
    row = Provider(pk=pk, name=name, kind="openai", base_url="http://p/v1", weight=weight, priority=priority)
    return Candidate(record_of(row), "m")


@pytest.mark.parametrize("weights", [(1, 1), (100, 300), (1, 2, 7), (50, 50, 0, 900), (1, 1_000_000)])
def test_the_shares_follow_the_weights(weights: tuple[int, ...]):
    """P28: within the binomial 99 % interval, or three draws where that is narrower than chance's grain."""
    draw = random.Random(11).random
    candidates = [candidate(str(n), weight) for n, weight in enumerate(weights)]
    drawn = Counter(choose(candidates, draw()).provider.name for _ in range(DRAWS))
    for name, weight in enumerate(weights):
        share = weight / sum(weights)
        spread = max(Z99 * sqrt(DRAWS * share * (1 - share)), 3 if weight else 0)
        assert abs(drawn[str(name)] - DRAWS * share) <= spread, drawn


def test_only_the_lowest_priority_number_is_drawn_from():
    candidates = [candidate("a", 1, 1), candidate("b", 1, 1), candidate("c", 1000, 2)]
    assert {choose(candidates, n / 100).provider.name for n in range(100)} == {"a", "b"}


def test_who_names_the_model_goes_before_who_takes_every_model(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    """A provider set up for one model must not share it with one that was set up for anything."""
    upstream.script = chat_answer()
    add_provider("anything", "/anything", priority=7)
    add_provider("special", "/special", priority=7, models={"rare-*": ""})
    assert {ask(router, key, model="rare-bird").headers["x-provider"] for _ in range(12)} == {"special"}
    assert ask(router, key, model="common").headers["x-provider"] == "anything"
    assert ask(router, key, path="/v1/files", method="GET").headers["x-provider"] == "anything"


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999999999999])
def test_the_ends_of_the_range_are_drawn(draw: float):
    assert choose([candidate("a", 3), candidate("b", 1)], draw).provider.name == ("b" if draw > 0.75 else "a")


def test_weight_0_takes_no_new_requests():
    catalog = Catalog((candidate("drained", 0).provider, candidate("other", 1, 5).provider))
    assert [c.provider.name for c in catalog.candidates("m")] == ["other"]
    assert catalog.default().name == "other"
    with pytest.raises(NoProvider):
        Catalog((candidate("drained", 0).provider,)).candidates("m")


def test_requests_are_spread_by_weight_and_a_drained_provider_gets_none(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    upstream.script = chat_answer()
    first = add_provider("left", "/left", models={"spread": ""}, weight=1)
    add_provider("right", "/right", models={"spread": ""}, weight=1)
    add_provider("later", "/later", models={"spread": ""}, weight=1000, priority=1)
    seen = Counter(ask(router, key, model="spread").headers["x-provider"] for _ in range(60))
    assert set(seen) == {"left", "right"}
    changed(router, f"/api/providers/{first}", weight=0)
    let_changes_arrive(router, key)
    assert {ask(router, key, model="spread").headers["x-provider"] for _ in range(20)} == {"right"}


def test_exact_names_go_before_globs_and_blank_names_stay(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    add_provider(
        "mapped", "/v1", models={"fast": "gpt-fast-1", "fast-*": "gpt-fast-any", "slow-*": "", "fast-2": "two"}
    )
    for asked, served in (("fast", "gpt-fast-1"), ("fast-2", "two"), ("fast-9", "gpt-fast-any"), ("slow-9", "slow-9")):
        answer = ask(router, key, model=asked)
        assert answer.headers["x-provider"] == "mapped"
        assert upstream.last.json()["model"] == served
        assert answer.json()["model"] == asked


def test_the_clients_name_is_put_back_into_every_chunk(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    add_provider("mapped", "/v1", models={"fast": "gpt-fast-1"})
    upstream.answers(chat_stream(model="gpt-fast-1"))
    answer = ask(router, key, model="fast", stream=True)
    assert answer.text.count('"model":"fast"') == answer.text.count('"choices"')
    assert "gpt-fast-1" not in answer.text


@pytest.mark.parametrize("model", ["auto", "", None])
def test_the_preferred_model_counts_where_the_body_leaves_it_open(
    router: Sluice, upstream: Upstream, key: str, model: str | None
):
    assert ask(router, key, model=model, headers={"x-preferred-model": "gpt-preferred"}).status_code == 200
    assert upstream.last.json()["model"] == "gpt-preferred"
    assert upstream.last.header("x-preferred-model") is None


def test_the_bodys_model_goes_before_the_preferred_one(router: Sluice, upstream: Upstream, key: str):
    ask(router, key, model="gpt-named", headers={"x-preferred-model": "gpt-preferred"})
    assert upstream.last.json()["model"] == "gpt-named"


def test_a_model_that_nobody_has_is_404_and_named(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    """The environment's own provider takes every name, so it is given a list for once."""
    own = next(p for p in router.api("GET", "/api/providers").json()["results"] if p["name"] == "openai")
    changed(router, f"/api/providers/{own['id']}", models={"gpt-4.1-mini": "", "gpt-4o-*": ""})
    try:
        in_force(lambda: ask(router, key, model="nobodys-model").status_code == 404)
        error = refused(ask(router, key, model="nobodys-model"), 404, "model_not_found")
        assert "nobodys-model" in error["message"]
        assert (error["type"], error["param"]) == ("invalid_request_error", "model")
        listed = ask(router, key, path="/v1/models", method="GET").json()
        assert [model["id"] for model in listed["data"]] == ["gpt-4.1-mini"]
        refused(ask(router, key, path="/v1/models/nobodys-model", method="GET"), 404, "model_not_found")
    finally:
        changed(router, f"/api/providers/{own['id']}", models={})
        in_force(lambda: ask(router, key, model="nobodys-model").status_code == 200)


def test_the_list_of_models_has_what_the_key_may_use(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    add_provider("listed", "/v1", models={"listed/a": "x", "listed-b": "", "private": "", "globbed-*": ""})
    add_provider("drained-list", "/v1", models={"drained-model": ""}, is_enabled=False)
    _, some = minted(router, allowed_models=["listed*"])
    names = [model["id"] for model in ask(router, some, path="/v1/models", method="GET").json()["data"]]
    assert names == ["listed-b", "listed/a"]
    for written in ("/v1/models/", "/v1//models", "/v1/Models"):  # nor the provider's own list
        refused(ask(router, some, path=written, method="GET"), 404, "path_not_canonical")
    everything = {model["id"] for model in ask(router, key, path="/v1/models", method="GET").json()["data"]}
    assert {"listed-b", "listed/a", "private"} <= everything
    assert not {"globbed-*", "drained-model"} & everything
    for written in ("/v1/models/listed/a", "/v1/models/listed%2Fa"):
        one = ask(router, some, path=written, method="GET").json()
        assert (one["id"], one["object"], one["owned_by"]) == ("listed/a", "model", "listed")
    refused(ask(router, some, path="/v1/models/private", method="GET"), 404, "model_not_found")
    refused(ask(router, None, path="/v1/models", method="GET"), 401, "missing_api_key")


def test_the_suffix_is_taken_off(start_sluice, upstream: Upstream):
    server = start_sluice(PROVIDER_SUFFIX="corp")
    _, key = minted(server, allowed_models=["gpt-4.1-mini"])
    assert ask(server, key, model="corp/gpt-4.1-mini").status_code == 200
    assert upstream.last.json()["model"] == "gpt-4.1-mini"
    assert ask(server, key, model="gpt-4.1-mini").status_code == 200
    refused(ask(server, key, model="corp/o1"), 403, "model_not_allowed")
