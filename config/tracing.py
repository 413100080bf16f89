"""Whether traces are sent, by OpenTelemetry's own variables."""

from __future__ import annotations

from importlib.util import find_spec

from config.environment import Environment

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def tracing_from(env: Environment) -> bool:
    """On with an endpoint, or with `OTEL_TRACES_EXPORTER=otlp`; off with `none`, or `OTEL_SDK_DISABLED=true`."""
    exporter = env.choice("OTEL_TRACES_EXPORTER", "", ("otlp", "none"))
    endpoints = [env.url(name, "", ("http", "https")) for name in ENDPOINTS]
    if env.flag("OTEL_SDK_DISABLED", False) or exporter == "none" or not (exporter or any(endpoints)):
        return False
    for name in PROTOCOLS:
        env.choice(name, "http/protobuf", ("http/protobuf",))
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        env.refuse(
            "OTEL_EXPORTER_OTLP_ENDPOINT", "traces need OpenTelemetry: .venv/bin/pip install -r requirements/otel.txt"
        )
    return True
