"""Count events: first into a tally for each kind of request, then from the tallies into the named sums."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from http import HTTPStatus

from usage.event import RequestEvent
from usage.telemetry.counting import series
from usage.telemetry.counting.labels import OTHER, Labels
from usage.telemetry.counting.numbers import Numbers

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
EMBEDDINGS = "/v1/embeddings"
LATENCY, SPEED = series.LATENCY_BUCKETS, series.SPEED_BUCKETS

Kind = tuple[str, str, str, str, int, int | None, str, str]
"""A kind of request: method, endpoint, model, provider, status, key, code of the refusal, cache."""


class Tally:
    """The numbers of requests of one kind."""

    __slots__ = (
        "buckets",
        "completion_tokens",
        "cost_picousd",
        "prompt_tokens",
        "requests",
        "saved_picousd",
        "saved_tokens",
        "speed_buckets",
        "speed_millionths",
        "took_us",
        "ttft_buckets",
        "ttft_us",
        "upstream_buckets",
        "upstream_us",
    )

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.completion_tokens = self.cost_picousd = 0
        self.saved_tokens = self.saved_picousd = 0
        self.took_us = self.ttft_us = self.upstream_us = self.speed_millionths = 0
        self.buckets = [0] * (len(LATENCY) + 1)
        self.ttft_buckets: list[int] | None = None
        self.upstream_buckets: list[int] | None = None
        self.speed_buckets: list[int] | None = None

    def count(self, event: RequestEvent) -> None:
        seconds = event.duration_ms / 1000
        self.requests += 1
        self.took_us += int(event.duration_ms * 1000)
        self.buckets[bisect_left(LATENCY, seconds)] += 1
        if event.ttft_ms is not None:
            seconds = event.ttft_ms / 1000
            self.ttft_us += int(event.ttft_ms * 1000)
            if self.ttft_buckets is None:
                self.ttft_buckets = [0] * (len(LATENCY) + 1)
            self.ttft_buckets[bisect_left(LATENCY, seconds)] += 1
        self.prompt_tokens += event.prompt_tokens or 0
        self.cost_picousd += event.cost_picousd or 0
        self.saved_tokens += event.saved_tokens
        self.saved_picousd += event.saved_picousd
        if event.completion_tokens:
            self.completion_tokens += event.completion_tokens
            if event.outcome == "complete":
                self._count_speed(event, event.completion_tokens)
        if event.endpoint == EMBEDDINGS and event.upstream_ms is not None and event.outcome == "complete":
            seconds = event.upstream_ms / 1000
            self.upstream_us += int(event.upstream_ms * 1000)
            if self.upstream_buckets is None:
                self.upstream_buckets = [0] * (len(LATENCY) + 1)
            self.upstream_buckets[bisect_left(LATENCY, seconds)] += 1

    def _count_speed(self, event: RequestEvent, tokens: int) -> None:
        took_ms = event.upstream_ms
        if event.stream and event.ttft_ms is not None:
            took_ms = event.duration_ms - event.ttft_ms
        if took_ms is None or took_ms <= 0:
            return
        speed = tokens * 1000 / took_ms
        self.speed_millionths += int(speed * 1e6)
        if self.speed_buckets is None:
            self.speed_buckets = [0] * (len(SPEED) + 1)
        self.speed_buckets[bisect_left(SPEED, speed)] += 1


class Counting:
    """Counts events into `Numbers`, with bounded labels. Must run in one thread at a time."""

    def __init__(self, models: Labels, providers: Labels, keys: Labels) -> None:
        self._models, self._providers, self._keys = models, providers, keys

    def count(self, events: Iterable[RequestEvent], numbers: Numbers) -> None:
        tallies: dict[Kind, Tally] = {}
        for event in events:
            refusal = event.error if event.outcome == "refused" else ""
            # Only models that a provider was asked for: refused requests must not use up the labels.
            model = self._models.of(event.model) if event.provider else ""
            kind = (event.method, event.endpoint, model, event.provider, event.status, event.key, refusal, event.cache)
            tally = tallies.get(kind)
            if tally is None:
                tally = tallies[kind] = Tally()
            tally.count(event)
        for kind, tally in tallies.items():
            self._hand_over(kind, tally, numbers)

    def _hand_over(self, kind: Kind, tally: Tally, numbers: Numbers) -> None:
        method, endpoint, model, provider, status, key_id, refusal, cache = kind
        provider = self._providers.of(provider)
        count, measure, requests = numbers.count, numbers.measure, tally.requests
        method_label = method if method in METHODS else OTHER
        count((series.REQUESTS.name, method_label, endpoint, model, provider, str(status)), requests)
        measure((series.DURATION.name, endpoint, provider), tally.took_us, tally.buckets)
        if tally.ttft_buckets is not None:
            measure((series.TTFT.name, model, provider), tally.ttft_us, tally.ttft_buckets)
        if tally.speed_buckets is not None:
            measure((series.SPEED.name, model, provider), tally.speed_millionths, tally.speed_buckets)
        if tally.upstream_buckets is not None:
            measure((series.EMBEDDING_COMPUTE.name, model, provider), tally.upstream_us, tally.upstream_buckets)
        if refusal and status == HTTPStatus.UNAUTHORIZED:
            count((series.REFUSED_KEYS.name, refusal), requests)
        if cache in series.CACHE:
            count((series.CACHE[cache].name,), requests)
            if tally.saved_tokens:
                count((series.SAVED_TOKENS.name,), tally.saved_tokens)
                count((series.SAVED_COST.name,), tally.saved_picousd)
            if endpoint == EMBEDDINGS and cache in series.EMBEDDING_CACHE:
                count((series.EMBEDDING_CACHE[cache].name,), requests)
        key = self._keys.of(str(key_id)) if key_id is not None else ""
        if key and not refusal:
            count((series.KEY_REQUESTS.name, key), requests)
            count((series.KEY_COST.name, key), tally.cost_picousd)
        for token_type, tokens in (("prompt", tally.prompt_tokens), ("completion", tally.completion_tokens)):
            if tokens:
                count((series.TOKENS.name, model, provider, token_type), tokens)
                if key:
                    count((series.KEY_TOKENS.name, key, token_type), tokens)
