"""What is known of a request when it has ended: the one event that everything else is made from."""

from __future__ import annotations

import msgspec


class RequestEvent(msgspec.Struct, omit_defaults=True, gc=False):
    """One finished request. Times are Unix seconds or milliseconds, as named; None is "not known".

    The fields stand in the order of `ledger.COLUMNS`.
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
    endpoint: str = ""
    """One of a small number of names, for metrics; not in the ledger, which has the path."""

    requests: int = 0
    """What it counts as, for quotas: nothing where it was refused, or never asked for room."""

    made: tuple[str, ...] = ()
    """What the provider keeps that this request made, or used after a while (`usage/ledger/stored.py`)."""

    holder: str = ""
    """The process that asks for the response, which goes on in the background; empty: it is over (`background.py`)."""

    settles: str = ""
    """The id of the request whose response in the background this is the cost of."""
