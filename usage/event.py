"""The event: the record of one finished request. Ledger, metrics, traces and dispatchers are made from it."""

from __future__ import annotations

import msgspec


class RequestEvent(msgspec.Struct, omit_defaults=True, gc=False):
    """One finished request. `at` is in Unix seconds, durations are in milliseconds, and None means "not known".

    The fields have the order of `COLUMNS` in `usage/ledger/write.py`, whose rows are made from them by position.
    """

    id: str
    at: float
    method: str
    path: str
    status: int
    outcome: str
    duration_ms: float
    key: int | None = None
    project: int | None = None
    user: int | None = None
    team: int | None = None
    provider: str = ""
    credential: str = ""
    model: str = ""
    model_served: str = ""
    stream: bool = False
    error: str = ""
    cache: str = ""
    attempts: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    usage_source: str = ""
    cost_picousd: int | None = None
    price_source: str = ""
    ttft_ms: float | None = None
    upstream_ms: float | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    ip: str | None = None
    correlation_id: str = ""
    response_id: str = ""
    tags: tuple[str, ...] = ()
    saved_tokens: int = 0
    """Of a whole answer that no provider was asked for: the tokens that its provider counted when it made it."""

    saved_picousd: int = 0
    """What they would have cost; 0 where the price is not known."""

    endpoint: str = ""
    """One of a small number of names, for metrics. The ledger has the path instead."""

    requests: int = 0
    """How many requests it counts as for limits: 0 if it was refused, or never took a reservation."""

    made: tuple[str, ...] = ()
    """Objects at the provider that this request made, or used after a while (`usage/ledger/stored.py`)."""

    holder: str = ""
    """The process that polls for the response in the background; empty if none goes on (`ledger/background.py`)."""

    settles: str = ""
    """The id of the request that made the response in the background whose cost this event has."""
