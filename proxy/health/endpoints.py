"""Answers requests for health and metrics, which need no virtual key and leave no row. No part is waited for long."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from django.conf import settings
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from providers.health import OK, UNKNOWN, Health
from proxy.health.report import UNAVAILABLE, Condition, Report, is_ready, moment
from proxy.wire.asgi import Scope, Send
from proxy.wire.openai_error import error_body
from strict.units import VERSION
from usage.telemetry.metrics import exposition

DETAILED = "/health/detailed"
ALIVE = frozenset({"/health", "/healthz", "/live", "/v1/health"})
PATHS = ALIVE | {"/ready", "/metrics", DETAILED}
JSON = b"application/json"
FORWARDED = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip"})
METRICS_REFUSED = "Metrics are told to programs on this host, and to who sends METRICS_TOKEN as a bearer token."


async def answer_health(scope: Scope, send: Send, condition: Condition | None) -> None:
    """`condition` is None until the data plane has started."""
    path = scope["path"]
    if scope["method"] not in ("GET", "HEAD"):
        await _send(scope, send, 405, JSON, b'{"status":"method not allowed"}', [(b"allow", b"GET, HEAD")])
    elif path == "/metrics" and not (is_local(scope) or has_token(scope)):
        body = error_body(METRICS_REFUSED, "invalid_request_error", None, "invalid_metrics_token")
        await _send(scope, send, 401, JSON, body, [(b"www-authenticate", b"Bearer")])
    elif path == "/metrics":
        providers = (await condition.report()).providers if condition is not None else ()
        # To add up the workers' sums, files are read: not on the event loop.
        body = await asyncio.to_thread(exposition, ProviderCollector(providers))
        await _send(scope, send, 200, b"text/plain; version=0.0.4; charset=utf-8", body)
    elif path == DETAILED:
        await answer_detailed(scope, send, condition)
    elif path == "/ready" and (condition is None or not is_ready()):
        body = msgspec.json.encode({"status": "not ready", "version": VERSION})
        await _send(scope, send, 503, JSON, body, [(b"retry-after", b"1")])
    else:
        await _send(scope, send, 200, JSON, msgspec.json.encode({"status": "ok", "version": VERSION}))


async def answer_detailed(scope: Scope, send: Send, condition: Condition | None) -> None:
    """Operators get the whole report. Everybody else gets the names of the parts and their statuses."""
    authorization = authorization_of(scope)
    if authorization is not None and not is_bearer(authorization, settings.MANAGEMENT_TOKEN):
        body = error_body(
            "This is not the management token.", "invalid_request_error", None, "invalid_management_token"
        )
        await _send(scope, send, 401, JSON, body, [(b"www-authenticate", b"Bearer")])
        return
    if condition is None:
        body = msgspec.json.encode({"status": UNAVAILABLE, "version": VERSION, "components": {}})
        await _send(scope, send, 503, JSON, body, [(b"retry-after", b"1")])
        return
    report = await condition.report()
    document = whole(report) if authorization is not None else states(report)
    status = 503 if report.status == UNAVAILABLE else 200
    await _send(scope, send, status, JSON, msgspec.json.encode(document), [(b"cache-control", b"no-store")])


def authorization_of(scope: Scope) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == b"authorization"), None)


def is_bearer(authorization: bytes, token: str) -> bool:
    scheme, _, credential = authorization.strip().partition(b" ")
    return bool(token) and scheme.lower() == b"bearer" and hmac.compare_digest(credential.strip(), token.encode())


def has_token(scope: Scope) -> bool:
    """Whether the bearer token is METRICS_TOKEN (for Prometheus) or MANAGEMENT_TOKEN (the operator's)."""
    authorization = authorization_of(scope) or b""
    return any([is_bearer(authorization, settings.METRICS_TOKEN), is_bearer(authorization, settings.MANAGEMENT_TOKEN)])


def is_local(scope: Scope) -> bool:
    """Whether a program on this host asks, and not a proxy on this host for somebody else."""
    client = scope.get("client")
    if client is None or any(name in FORWARDED or name.startswith(b"x-forwarded-") for name, _ in scope["headers"]):
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def states(report: Report) -> dict[str, Any]:
    """The report for everybody: statuses of the parts, without names of providers, numbers or reasons."""
    components = {name: {"status": part.status} for name, part in report.parts.items()}
    return {"status": report.status, "version": VERSION, "components": components}


def whole(report: Report) -> dict[str, Any]:
    """The report for operators."""
    components = {}
    for name, part in report.parts.items():
        latency = {} if part.latency_ms is None else {"latency_ms": part.latency_ms}
        components[name] = {"status": part.status, **latency, "since": moment(report.since[name]), **part.more}
    providers = [
        {
            "name": health.provider,
            "status": health.status,
            "latency_ms": health.latency_ms,
            "since": moment(health.since),
            "checked_at": moment(health.checked_at),
            "detail": health.error,
        }
        for health in report.providers
    ]
    return {
        "status": report.status,
        "version": VERSION,
        "uptime_s": round(report.uptime_s, 1),
        "components": components,
        "providers": providers,
    }


class ProviderCollector(Collector):
    """Gauges of the last check of each provider. A provider without a check is left out."""

    def __init__(self, providers: Sequence[Health]) -> None:
        self._providers = providers

    def collect(self) -> Iterator[Metric]:
        health = GaugeMetricFamily(
            "llm_proxy_provider_health", "1 where the last check of a provider was well, else 0.", labels=["provider"]
        )
        latency = GaugeMetricFamily(
            "llm_proxy_provider_latency_seconds", "What the last check of a provider took.", labels=["provider"]
        )
        for provider_health in self._providers:
            if provider_health.status != UNKNOWN:
                health.add_metric([provider_health.provider], int(provider_health.status == OK))
            if provider_health.latency_ms is not None:
                latency.add_metric([provider_health.provider], provider_health.latency_ms / 1000)
        yield health
        yield latency


async def _send(
    scope: Scope,
    send: Send,
    status: int,
    content_type: bytes,
    body: bytes,
    more: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body, "more_body": False})
