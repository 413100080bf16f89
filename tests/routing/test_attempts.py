"""Providers are asked one after the other: what each is sent, and what is known of it afterwards. Without a server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from django.conf import settings

from providers.catalog import Candidate, Catalog, ProviderRecord
from providers.kinds.base import Kind
from proxy.bounds import Bounds
from proxy.dialects.base import AnswerContext, Dialect
from proxy.dialects.chat import ChatDialect
from proxy.dialects.pairs import PAIRS, NoPair, Pair
from proxy.errors import ClientGone, ProxyError, UpstreamError, UpstreamTimeout, as_proxy_error
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline, RequestDeadlines
from proxy.steps.account import event_of
from proxy.steps.facts import answer_context
from proxy.steps.fetch import fetch
from proxy.steps.route import attempts
from proxy.upstream.client import Upstream as Client
from proxy.wire.answer import Answer
from proxy.wire.jsonbody import JSONBody
from tests.kit.exchanges import exchange_of, provider_of
from tests.kit.services import processes
from tests.kit.upstream import Upstream
from tests.kit.upstream.scripts import Wait, json_answer
from usage.prices.book import Prices

CHAT = {"model": "m", "messages": [], "stream": True}


def providers(*urls: str, **options: Any) -> list[ProviderRecord]:
    """One after the other by priority; each has a name of its own for the client's model."""
    return [
        provider_of(
            f"p{number}",
            pk=number + 1,
            base_url=url,
            priority=number + 1,
            model_map={"m": f"m-{number}"},
            options=options.get(f"p{number}", {}),
        )
        for number, url in enumerate(urls)
    ]


def nowhere() -> str:
    return f"http://127.0.0.1:{processes.free_port()}/v1"


async def fetched(exchange: Exchange, some: Sequence[ProviderRecord], **bounds: Any) -> tuple[int, bytes]:
    """Status and body of the answer."""
    client = Client(verify_ssl=True, connect_timeout_s=5)
    request_deadlines = RequestDeadlines()
    deadline = RequestDeadline(exchange, request_deadlines.watched)
    components: Any = SimpleNamespace(
        snapshot=SimpleNamespace(catalog=Catalog(tuple(some))),
        bounds=msgspec.structs.replace(Bounds.from_settings(settings), **bounds),
        upstream=client,
    )
    try:
        answer = await fetch(exchange, components, deadline)
        body = b""
        while piece := await answer.read():
            body += piece
        return answer.status, body
    finally:
        deadline.close()
        request_deadlines.stop()
        client.close()


def get(exchange: Exchange, some: Sequence[ProviderRecord], **bounds: Any) -> tuple[int, bytes]:
    return asyncio.run(fetched(exchange, some, **bounds))


@pytest.mark.parametrize("first, second", [(True, False), (False, True)])
def test_each_is_sent_its_own_name_and_options(upstream: Upstream, first: bool, second: bool):
    upstream.script = json_answer({})
    options = {"p0": {"include_usage": first}, "p1": {"include_usage": second}}
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT)
    assert get(exchange, providers(nowhere(), upstream.url, **options), attempts=2) == (200, b"{}")
    usage = {"stream_options": {"include_usage": True}} if second else {}
    assert upstream.last.json() == {**CHAT, "model": "m-1", **usage}
    facts = answer_context(exchange)
    assert (facts.model, facts.hides_usage) == ("m", second)
    assert exchange.body is not None
    assert json.loads(exchange.body.encode()) == CHAT, "the next one is sent what the client sent"


def test_the_row_knows_both(upstream: Upstream):
    upstream.script = json_answer({})
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT)
    get(exchange, providers(nowhere(), upstream.url), attempts=2)
    first, second = exchange.attempts
    assert (first.provider.name, first.model, first.error, first.status) == ("p0", "m-0", "upstream_unreachable", 0)
    assert (second.provider.name, second.model, second.error, second.status) == ("p1", "m-1", "", 200)
    assert first.sent_at is not None
    assert second.sent_at is not None
    assert first.sent_at < second.sent_at
    event = event_of(exchange, exchange.t0 + 1, Prices([]))
    assert (event.attempts, event.provider, event.model_served) == (2, "p1", "m-1")


@pytest.mark.parametrize("bound, asked_for", [(1, 1), (2, 2), (3, 2)])
def test_no_more_are_asked_than_the_bound_and_the_last_failure_is_told(bound: int, asked_for: int):
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT)
    with pytest.raises(UpstreamError) as raised:
        get(exchange, providers(nowhere(), nowhere()), attempts=bound)
    assert raised.value.code == "upstream_unreachable"
    assert [attempt.model for attempt in exchange.attempts] == ["m-0", "m-1"][:asked_for]


def test_an_answer_is_an_answer_whatever_its_status(upstream: Upstream):
    upstream.script = json_answer({}, 500)
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT)
    assert get(exchange, providers(upstream.url, nowhere()), attempts=2) == (500, b"{}")
    assert [attempt.status for attempt in exchange.attempts] == [500]


def test_an_attempt_without_an_answer_in_time_is_over(upstream: Upstream):
    upstream.script = [Wait(30)]
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT)
    with pytest.raises(UpstreamTimeout):
        get(exchange, providers(upstream.url), head_s=0.1, first_byte_s=0.1)
    assert [attempt.status for attempt in exchange.attempts] == [0]


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0, 5), (100, 1, 1)])
def test_nobody_is_asked_twice(weights: Sequence[int]):
    some = [provider_of(f"p{number}", pk=number, weight=weight) for number, weight in enumerate(weights)]
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT)
    candidates = tuple(Candidate(each, "m") for each in some if each.weight)
    names = [attempt.provider.name for attempt in attempts(exchange, candidates)]
    assert sorted(names) == [each.name for each in some if each.weight]


# --- dialects ---------------------------------------------------------------------------------------------------
class Elsewhere(Kind):
    """Providers that speak an API of their own."""

    name = api = "elsewhere"


class ToElsewhere(Pair):
    """Its requests name the model `engine`, and its answers are spelled in capitals."""

    def path(self, rest: str) -> str:
        return "/talk" if rest == "/chat/completions" else rest

    def request(self, body: JSONBody, changes: dict[str, Any]) -> bytes:
        return json.dumps({"engine": changes.get("model", body.get("model"))}).encode()

    def answer(self, answer: Answer, asked: AnswerContext) -> Answer:
        return Lowered(answer)


class Lowered:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status, self.headers = answer.status, answer.headers
        self.comes_by, self.put_back, self.abort = answer.comes_by, answer.put_back, answer.abort

    async def read(self) -> bytes:
        return (await self._answer.read()).lower()

    def rest(self) -> bytes | None:
        whole = self._answer.rest()
        return None if whole is None else whole.lower()


def elsewhere(upstream: Upstream) -> list[ProviderRecord]:
    here, there = providers(nowhere(), upstream.url)
    return [here, dataclasses.replace(there, kind=Elsewhere())]


def test_each_attempt_speaks_its_providers_dialect(upstream: Upstream, monkeypatch: pytest.MonkeyPatch):
    pair: tuple[type[Dialect], str] = ChatDialect, "elsewhere"
    monkeypatch.setitem(PAIRS, pair, ToElsewhere())
    upstream.script = json_answer({"SAID": "HELLO"})
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT)
    assert get(exchange, elsewhere(upstream), attempts=2) == (200, b'{"said": "hello"}')
    assert (upstream.last.path, upstream.last.json()) == ("/v1/talk", {"engine": "m-1"})


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_what_nobody_translates_is_not_asked(upstream: Upstream, path: str):
    exchange = exchange_of("POST", path, {"model": "m", "input": "x", "messages": []})
    with pytest.raises(NoPair) as raised:
        get(exchange, elsewhere(upstream), attempts=2)
    failure = as_proxy_error(raised.value)
    assert (failure.status, failure.code) == (404, "endpoint_not_supported")
    assert not upstream.requests


# --- deadlines -------------------------------------------------------------------------------------------------
def waiting() -> Any:
    return SimpleNamespace(call=None, answer_ended=False, is_needed=False, receive=asyncio.Event().wait)


async def interrupted(deadline: RequestDeadline) -> ProxyError | ClientGone:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return deadline.cause()
    raise AssertionError


def late(name: str) -> Callable[[], ProxyError]:
    return lambda: ProxyError(name, "It is late.")


def test_a_deadline_can_be_armed_again_but_not_once_the_client_has_left():
    async def main() -> None:
        watched: set[RequestDeadline] = set()
        deadline = RequestDeadline(waiting(), watched)
        loop = asyncio.get_running_loop()
        for name in ("first", "second"):
            deadline.expect(0, late(name))
            assert deadline in watched
            loop.call_soon(deadline.look, float("inf"))
            reason = await interrupted(deadline)
            assert isinstance(reason, ProxyError)
            assert reason.code == name
            assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        deadline.expect(0, late("third"))
        loop.call_soon(deadline.client_left)
        assert isinstance(await interrupted(deadline), ClientGone)
        deadline.expect(0, late("fourth"))
        assert deadline not in watched
        deadline.look(float("inf"))
        await asyncio.sleep(0)
        assert isinstance(deadline.reason, ClientGone)

    asyncio.run(main())
