"""X96: what a request is charged by what became of it, and what its row says, without a server."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keys.limits import Ask, Baseline, LimitExceeded, MemoryLimits, Unknown
from providers.catalog import Access, CredentialRecord, ProviderRecord
from proxy.attempt import Attempt
from proxy.capture import Capture
from proxy.components import Components
from proxy.dialects.base import Usage
from proxy.exchange import Exchange
from proxy.steps.account import NO_USAGE, account, cost_of, cost_of_media, event_of, tokens_of, usage_of
from tests.kit.exchanges import exchange_of, key_of, override_of, project_of, provider_of, snapshot_of
from tests.kit.scopes import scope
from usage.bodies.keep import BodyKeeper, CapturedBodies
from usage.event import RequestEvent
from usage.prices.book import Prices
from usage.prices.price import Units
from usage.telemetry.traces import Span, Traces

PROVIDER, OTHER = provider_of(), provider_of("other")
SIMULATOR = provider_of("sim", kind="simulator", base_url="")
PRICES = Prices(
    [
        override_of("m", input=1, output=10, cached_input="0.5", reasoning=20),
        override_of("speaker", input=1, output=1, per_image="0.04"),
        override_of("painter", input=1, output=3),
    ]
)
MILLION = 10**6
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def exchange_answered(
    method: str = "POST",
    path: str = "/v1/chat/completions",
    body: Any = None,
    *,
    model: str = "m",
    provider: ProviderRecord | None = None,
    **known: Any,
) -> Exchange:
    """A request that a provider was asked and answered whole, but for what is known otherwise."""
    exchange = exchange_of(method, path, CHAT if body is None and method == "POST" else body)
    attempt = Attempt(provider or PROVIDER, model, ("", ""))
    attempt.sent_at = exchange.t0
    exchange.begin(attempt)
    exchange.outcome = "complete"
    for name, value in known.items():
        setattr(attempt if name in ("sent_at", "first_byte_at") else exchange, name, value)
    return exchange


@pytest.mark.parametrize(
    "exchange, told",
    [
        (exchange_answered(), (None, "override")),
        (exchange_answered(outcome="client_closed", passed_unread=True), (None, "override")),
        (exchange_answered(outcome="client_closed"), (0, "")),
        (exchange_answered(outcome="upstream_failed", passed_unread=True), (0, "")),
        (exchange_answered("GET", "/v1/files"), (0, "")),
        (exchange_answered(attempt=None), (0, "")),
        (exchange_answered(sent_at=None), (0, "")),
        (exchange_answered(goes_on=True), (0, "")),
        (exchange_answered(model="of no price"), (None, "unknown")),
        (exchange_answered(model="simulator", provider=SIMULATOR), (0, "simulator")),
    ],
    ids=range(10),
)
def test_what_nobody_counted_is_not_known_or_cost_nothing(exchange: Exchange, told: tuple[int | None, str]):
    assert cost_of(exchange, NO_USAGE, PRICES) == told


USED = Usage(prompt=100, completion=50, cached=40, reasoning=20)
COST = (60 * 1 + 40 * 0.5 + 30 * 10 + 20 * 20) * MILLION


@pytest.mark.parametrize(
    "exchange, told",
    [
        (exchange_answered(), (COST, "override")),
        (exchange_answered(outcome="client_closed"), (COST, "override")),
        (exchange_answered(outcome="upstream_failed"), (COST, "override")),
        (exchange_answered("GET", "/v1/chat/completions"), (COST, "override")),
        (exchange_answered(attempt=None), (0, "")),
        (exchange_answered(sent_at=None), (0, "")),
        (exchange_answered(goes_on=True), (0, "")),
        (exchange_answered("GET", "/v1/responses/resp_1"), (0, "")),
        (exchange_answered(model="of no price"), (None, "unknown")),
        (exchange_answered(model="simulator", provider=SIMULATOR), (0, "simulator")),
    ],
    ids=range(10),
)
def test_what_was_counted_is_charged(exchange: Exchange, told: tuple[int | None, str]):
    assert cost_of(exchange, USED, PRICES) == told


def test_each_kind_of_token_has_its_own_rate():
    names = ("cached_input", "cache_write", "reasoning", "audio_input", "audio_output")
    rates: dict[str, Any] = {name: 3 + 2 * at for at, name in enumerate(names)}
    dear = Prices([override_of("m", input=1, output=2, **rates)])
    usage = Usage(
        100,
        100,
        cached=1,
        cache_write=10,
        reasoning=3,
        audio=99,
        audio_in=20,
        audio_out=30,
        picture_in=0,
        picture_out=0,
    )
    wanted = 69 * 1 + 67 * 2 + 1 * 3 + 10 * 5 + 3 * 7 + 20 * 9 + 30 * 11
    assert cost_of(exchange_answered(), usage, dear) == (wanted * MILLION, "override")


def test_what_was_used_is_estimated_where_nobody_counted_the_prompt_and_read_again_it_is_nothing():
    assert usage_of(exchange_answered()) is NO_USAGE
    counted = Usage(prompt=7, completion=1)
    assert usage_of(exchange_answered(usage=counted)) is counted
    assert (counted.prompt, counted.source) == (7, "provider")
    assert usage_of(exchange_answered("GET", "/v1/responses/resp_1", usage=counted)) is NO_USAGE
    said = usage_of(exchange_answered(usage=Usage(completion=1)))
    assert (said.prompt, said.completion, said.source) == (
        -(-len('[{"role": "user", "content": "hi"}]') // 4),
        1,
        "estimated",
    )


@pytest.mark.parametrize(
    "usage, outcome, passed_unread, tokens",
    [
        (Usage(3, 4), "complete", False, 7),
        (Usage(3), "complete", False, 3),
        (Usage(3, 4), "upstream_failed", False, 7),
        (None, "complete", False, 500),
        (None, "client_closed", True, 500),
        (None, "client_closed", False, 0),
        (None, "upstream_failed", True, 0),
    ],
)
def test_a_minute_is_charged_what_was_counted_else_what_was_reserved(
    usage: Usage | None, outcome: str, passed_unread: bool, tokens: int
):
    exchange = exchange_answered(usage=usage, outcome=outcome, passed_unread=passed_unread, reserved_tokens=500)
    assert tokens_of(exchange, event_of(exchange, exchange.t0, PRICES)) == tokens


def test_tokens_of_an_answer_count_where_nobody_can_say_those_of_the_prompt():
    exchange = exchange_answered("GET", "/v1/chat/completions", usage=Usage(completion=4))
    assert tokens_of(exchange, event_of(exchange, exchange.t0, PRICES)) == 4


# --- pictures and sound ----------------------------------------------------------------------------------------
def painted(**known: Any) -> Exchange:
    return exchange_answered(path="/v1/images/generations", body={"model": "speaker", "prompt": "x", "n": 2}, **known)


PICTURE = 4 * 10**10
"""Pico-dollars."""


@pytest.mark.parametrize(
    "known, cost, source",
    [
        ({}, 2 * PICTURE, "override"),
        ({"units": Units(pictures=3)}, 3 * PICTURE, "override"),
        ({"outcome": "upstream_failed"}, 0, ""),
        ({"outcome": "upstream_failed", "units": Units(pictures=1)}, PICTURE, "override"),
        ({"outcome": "client_closed"}, 0, ""),
        ({"outcome": "client_closed", "first_byte_at": 1.0}, 2 * PICTURE, "override"),
        ({"outcome": "upstream_failed", "first_byte_at": 1.0}, 0, ""),
        ({"attempt": None}, 0, ""),
        ({"sent_at": None}, 0, ""),
        ({"model": "of no price"}, None, "unknown"),
    ],
)
def test_pictures_are_charged_by_their_number(known: dict[str, Any], cost: int | None, source: str):
    exchange = painted(**{"model": "speaker", **known})
    assert cost_of_media(exchange, NO_USAGE, PRICES) == (NO_USAGE, cost, source)
    event = event_of(exchange, exchange.t0, PRICES)
    assert (event.cost_picousd, event.price_source, event.prompt_tokens) == (cost, source, None)


def test_pictures_without_a_price_by_their_number_are_charged_by_tokens():
    counted = Usage(prompt=10, completion=20)
    exchange = painted(model="painter", outcome="upstream_failed")
    assert cost_of_media(exchange, counted, PRICES) == (counted, (10 * 1 + 20 * 3) * MILLION, "override")
    exchange.outcome = "complete"
    usage, cost, source = cost_of_media(exchange, NO_USAGE, PRICES)
    assert (usage.completion, usage.source, source) == (2 * 6_240, "estimated", "override")
    assert cost == ((usage.prompt or 0) + 3 * 2 * 6_240) * MILLION


# --- the row ---------------------------------------------------------------------------------------------------
def test_a_row_says_what_became_of_the_request():
    exchange = exchange_of("POST", "/v1/chat/completions", CHAT, (b"x-correlation-id", b"mine"))
    t0 = exchange.t0
    exchange.key = key_of(id=3, owner_id=4, team_id=5, tags=("a", "b"))
    exchange.project = project_of(id=6)
    first, second = Attempt(OTHER, "m-0", ("", "")), Attempt(PROVIDER, "m-1", ("", ""))
    first.sent_at = t0 + 0.5
    second.access = Access(CredentialRecord("alias", 1, "secret"), b"secret", b"")
    second.sent_at, second.first_byte_at, second.done_at = t0 + 1, t0 + 2, t0 + 3.5
    exchange.usage = Usage(100, 50, 40, 20, 7, cache_write=0)
    exchange.status, exchange.outcome, exchange.error_code, exchange.cache = 200, "complete", "code", "hit"
    exchange.begin(first)
    exchange.begin(second)
    exchange.stream, exchange.admitted, exchange.counts_as = True, True, 9
    exchange.response_bytes, exchange.response_id, exchange.stored_keys = 77, "resp_1", ("file:1",)
    prices = Prices([override_of("m-1", input=1, output=10, cached_input="0.5", reasoning=20, cache_write=9)])
    event = event_of(exchange, t0 + 4, prices)
    said = {name: getattr(event, name) for name in event.__struct_fields__}
    times = said.pop("duration_ms"), said.pop("ttft_ms"), said.pop("upstream_ms")
    assert times == pytest.approx((4000, 2000, 2500), abs=0.01)
    assert said == {
        "id": exchange.request_id,
        "at": exchange.started_at,
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "/v1/chat/completions",
        "status": 200,
        "outcome": "complete",
        "error": "code",
        "cache": "hit",
        "stream": True,
        "attempts": 2,
        "key": 3,
        "project": 6,
        "user": 4,
        "team": 5,
        "tags": ("a", "b"),
        "saved_tokens": 0,
        "saved_picousd": 0,
        "provider": "openai",
        "credential": "alias",
        "model": "m",
        "model_served": "m-1",
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cached_tokens": 40,
        "reasoning_tokens": 20,
        "cache_write_tokens": 0,
        "audio_tokens": 7,
        "usage_source": "provider",
        "cost_picousd": COST,
        "price_source": "override",
        "request_bytes": exchange.request_bytes,
        "response_bytes": 77,
        "ip": "10.0.0.1",
        "correlation_id": "mine",
        "response_id": "resp_1",
        "requests": 9,
        "made": ("file:1",),
        "holder": "",
        "settles": "",
    }
    exchange.outcome = "refused"
    assert event_of(exchange, t0 + 4, PRICES).requests == 0
    exchange.outcome, exchange.admitted = "complete", False
    assert event_of(exchange, t0 + 4, PRICES).requests == 0


def test_a_row_of_what_nobody_was_asked_for_says_so():
    exchange = exchange_of("GET", "/v1/files/file-0123456789abcdef")
    event = event_of(exchange, exchange.t0, PRICES)
    assert (event.ttft_ms, event.upstream_ms, event.key, event.project, event.user) == (None,) * 5
    assert (event.provider, event.credential, event.model_served, event.tags) == ("", "", "", ())
    assert (event.cost_picousd, event.prompt_tokens, event.attempts, event.requests) == (0, None, 0, 0)
    attempt = Attempt(PROVIDER, "m", ("", ""))
    exchange.begin(attempt)
    attempt.sent_at, exchange.scope["client"] = exchange.t0 + 1, None
    event = event_of(exchange, exchange.t0 + 3, PRICES)
    assert event.upstream_ms == pytest.approx(2000, abs=0.01), "it has not ended yet"
    assert event.ip is None


def test_a_key_that_stands_in_a_path_is_not_in_the_row():
    text = "sk-sluice-abcdefGHI012ABCDEFGHIJKLMNOPQRSTUVWXYZ012345373927ed"
    exchange = exchange_of("GET", f"/v1/files/{text}")
    assert "ABCDEFGHIJKLMNOPQRSTUVWXYZ" not in event_of(exchange, exchange.t0, PRICES).path


# --- what is held comes back -----------------------------------------------------------------------------------
class Told:
    """The parts that hear of a request, and what they heard, in its order."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        hears = SimpleNamespace(add=self.add, ended=self.ended, take=self.take, holder_now="holder")
        log = SimpleNamespace(add=lambda document: self.said.append("log"))
        named = dict.fromkeys(("background", "journal", "metrics"), hears)
        self.components = cast(Components, SimpleNamespace(**named, request_log=log, traces=None, logged_bodies=None))
        self.components.snapshot = snapshot_of(prices=[override_of("m", input=1, output=10)])

    def add(self, event: RequestEvent) -> bytes:
        self.said.append("journal")
        return b"document"

    def ended(self, event: RequestEvent, document: bytes) -> None:
        self.said.append(document)

    def take(self, exchange: Exchange, event: RequestEvent) -> None:
        self.said.append(("background", event.holder))


def reserve(**limits: Any) -> tuple[MemoryLimits, Any]:
    limits_, ask = MemoryLimits(), Ask(2, tokens=500, cost=300 * MILLION, bounded=True)
    scopes = [scope(**limits)]
    try:
        return limits_, limits_.reserve_at_once(tuple(scopes), ask, time.time())
    except Unknown as unknown:
        for need in unknown.needs:
            limits_.load(need, Baseline())
        return limits_, limits_.reserve_at_once(tuple(scopes), ask, time.time())


LIMITS: dict[str, Any] = {"tpm": 1000, "budget": 400 * MILLION, "max_requests": 9, "parallel": 1}


def free(limits: MemoryLimits) -> tuple[int, int]:
    """Tokens that are left of the minute, and money."""
    at_hand = limits.reserve_at_once((scope(**LIMITS),), Ask(0, tokens=0, cost=0, bounded=True), time.time())
    tokens, budget = at_hand.statuses.tokens, at_hand.statuses.budget
    assert tokens is not None
    assert budget is not None
    assert budget.reserved == 0
    at_hand.settle(requests=0)
    return tokens.remaining, budget.remaining // MILLION


@pytest.mark.parametrize(
    "known, left",
    [
        ({"usage": Usage(100, 20)}, (880, 100)),
        ({"usage": None, "reserved_tokens": 500}, (500, 400)),
        ({"usage": None, "reserved_tokens": 500, "outcome": "upstream_failed"}, (1000, 400)),
        ({"usage": Usage(100, 20), "attempt": None}, (880, 400)),
    ],
)
def test_what_was_reserved_is_settled_by_what_was_used_and_told_once(known: dict[str, Any], left: tuple[int, int]):
    limits, reservation = reserve(**LIMITS)
    told = Told()
    account(exchange_answered(reservation=reservation, **known), told.components)
    assert free(limits) == left
    assert told.said == ["journal", b"document", "log"]


def test_what_was_reserved_comes_back_also_where_nothing_can_be_told():
    limits, reservation = reserve(**LIMITS)
    told = Told()
    exchange = exchange_answered(reservation=reservation, usage=Usage(100, 20))
    exchange.scope["client"] = 5  # no address
    for broken in (exchange, exchange_answered()):
        broken.scope["client"] = 5
        with pytest.raises(TypeError):
            account(broken, told.components)
    assert free(limits) == (1000, 400)
    assert told.said == []


def test_what_goes_on_in_the_background_keeps_what_it_holds():
    limits, reservation = reserve(**LIMITS)
    told = Told()
    account(exchange_answered(reservation=reservation, usage=Usage(100, 20), goes_on=True), told.components)
    assert told.said == [("background", "holder"), "journal", b"document", "log"]
    with pytest.raises(LimitExceeded):
        free(limits)
    reservation.settle()
    assert free(limits) == (1000, 400)


@pytest.mark.parametrize(
    "keeps, outcome, kept",
    [("all", "complete", True), ("errors", "complete", False), ("errors", "failed", True), ("", "failed", False)],
)
def test_bodies_are_kept_where_the_project_says_so(keeps: str, outcome: str, kept: bool):
    told, capture = Told(), Capture(100)
    capture.keeps = keeps
    capture.take_request(b"asked")
    capture.take_answer(b"told")
    told.components.bodies = cast(BodyKeeper, SimpleNamespace(add=told.said.append))
    account(exchange_answered(outcome=outcome, capture=capture), told.components)
    captured = [said for said in told.said if isinstance(said, CapturedBodies)]
    assert [(bytes(one.request.start), bytes(one.answer.start)) for one in captured] == [(b"asked", b"told")] * kept


@pytest.mark.parametrize("known, host", [({}, "llm.example"), ({"attempt": None}, None), ({"sent_at": None}, None)])
def test_a_span_ends_with_its_request_and_says_who_was_asked(known: dict[str, Any], host: str | None):
    told, span = Told(), cast(Span, object())
    account(exchange_answered(span=span, **known), told.components)  # traces are off
    ended: list[tuple[Any, Any, Any]] = []
    told.components.traces = cast(Traces, SimpleNamespace(ended=lambda *heard: ended.append(heard)))
    account(exchange_answered(**known), told.components)
    assert ended == []
    account(exchange_answered(span=span, **known), told.components)
    [(its_span, event, target)] = ended
    assert its_span is span
    assert event.method == "POST"
    assert (target and target.host) == host


@pytest.mark.parametrize("seconds, told", [(0.0, 0.0), (0.0012345, 1.234), (0.0012349, 1.234), (2.0, 2000.0)])
def test_times_are_to_the_microsecond(seconds: float, told: float):
    exchange = exchange_of()
    exchange.t0 = 0.0
    assert event_of(exchange, seconds, Prices()).duration_ms == told
