"""F123: a span a request by OpenTelemetry's conventions, the client's trace goes on to the provider; off by default."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from config.environment import ConfigurationError, Environment
from config.tracing import tracing_from
from tests.kit.environment import UPSTREAM_KEY
from tests.kit.management import minted
from tests.kit.requests import ask
from tests.kit.services import Services, processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, chat_stream, error_answer, usage_of
from tests.kit.waiting import soon

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
PROMPT = "prompt-canary-31bd"
WAIT_S = 20.0


class Collector:
    """Takes traces by OTLP over HTTP. `with Collector() as collector:`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
                collector.bodies.append(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def spans(self) -> dict[str, Span]:
        """By the request's id."""
        found: dict[str, Span] = {}
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found |= {str(attributes(span)["sluice.request_id"]): span for span in scope.spans}
        return found

    def span_of(self, answer: Any) -> Span:
        request_id = answer.headers["x-request-id"]
        assert processes.poll(lambda: request_id in self.spans(), timeout=WAIT_S)
        return self.spans()[request_id]


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(services: Services, _upstream: Upstream, collector: Collector) -> Iterator[Sluice]:
    with Sluice.start(
        upstream_url=_upstream.url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY=100
    ) as server:
        yield server


def test_a_request_is_a_span_by_the_conventions(traced: Sluice, upstream: Upstream, collector: Collector):
    key_id, key = minted(traced)
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    upstream.script = chat_answer(usage=usage_of(11, 3, **details))
    answer = ask(traced, key, headers={"x-correlation-id": "job-7"})
    span = collector.span_of(answer)
    told = attributes(span)
    assert (span.name, span.kind) == ("chat gpt-4.1-mini", Span.SPAN_KIND_CLIENT)
    assert span.end_time_unix_nano > span.start_time_unix_nano > 1_700_000_000 * 10**9
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "openai"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "gpt-4.1-mini"
    assert told["gen_ai.response.id"] == "chatcmpl-upstream"
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (11, 3)
    assert told["gen_ai.usage.cache_read.input_tokens"] == 4
    assert told["gen_ai.usage.reasoning.output_tokens"] == 2
    assert told["gen_ai.response.time_to_first_chunk"] > 0
    assert (told["server.address"], told["server.port"]) == ("127.0.0.1", upstream.port)
    assert told["http.response.status_code"] == 200
    assert (told["sluice.key_id"], told["sluice.correlation_id"], told["sluice.outcome"]) == (
        key_id,
        "job-7",
        "complete",
    )
    assert "error.type" not in told
    assert span.status.code == Status.STATUS_CODE_UNSET
    resource = ExportTraceServiceRequest.FromString(collector.bodies[-1]).resource_spans[0].resource
    assert {pair.key: pair.value.string_value for pair in resource.attributes}["service.name"] == "sluice"


def test_a_stream_is_a_span_too(traced: Sluice, upstream: Upstream, collector: Collector):
    upstream.script = chat_stream(usage=usage_of(5, 6))
    told = attributes(collector.span_of(ask(traced, traced.mint(), stream=True)))
    assert told["gen_ai.request.stream"] is True
    assert told["gen_ai.usage.output_tokens"] == 6
    assert told["gen_ai.response.time_to_first_chunk"] > 0


def test_the_clients_trace_goes_on_to_the_provider_with_our_span_between(
    traced: Sluice, upstream: Upstream, collector: Collector
):
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1,other=2"}
    span = collector.span_of(ask(traced, traced.mint(), headers=headers))
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.span_id.hex() not in (PARENT, "0" * 16)
    assert upstream.last.header_values("traceparent") == [f"00-{TRACE}-{span.span_id.hex()}-01"]
    assert upstream.last.header_values("tracestate") == ["vendor=1,other=2"]


@pytest.mark.parametrize(
    "wrong", [None, "", "x", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", f"{TRACEPARENT}-more"]
)
def test_without_a_trace_that_is_one_a_new_one_begins(
    traced: Sluice, upstream: Upstream, collector: Collector, wrong: str | None
):
    headers = {"tracestate": "vendor=1", **({} if wrong is None else {"traceparent": wrong})}
    span = collector.span_of(ask(traced, traced.mint(), headers=headers))
    assert (span.parent_span_id, span.trace_id.hex() == TRACE) == (b"", False)
    assert upstream.last.header_values("traceparent") == [f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"]
    assert upstream.last.header_values("tracestate") == []


def test_what_the_client_does_not_sample_is_not_sent(traced: Sluice, upstream: Upstream, collector: Collector):
    unsampled = ask(traced, traced.mint(), headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    (told,) = upstream.last.header_values("traceparent")
    assert told.startswith(f"00-{TRACE}-")
    assert told.endswith("-00")
    assert PARENT not in told
    collector.span_of(ask(traced, traced.mint()))  # which ended later
    assert unsampled.headers["x-request-id"] not in collector.spans()


def test_what_failed_and_what_was_refused_says_so(traced: Sluice, upstream: Upstream, collector: Collector):
    upstream.script = error_answer(500)
    failed = collector.span_of(ask(traced, traced.mint()))
    assert attributes(failed)["error.type"] == "upstream_500"
    assert failed.status.code == Status.STATUS_CODE_ERROR
    refused = collector.span_of(ask(traced, "wrong"))
    assert attributes(refused)["error.type"] == "invalid_api_key"
    assert refused.kind == Span.SPAN_KIND_SERVER
    assert "gen_ai.provider.name" not in attributes(refused)


def test_no_prompt_and_no_secret_is_in_a_span(traced: Sluice, upstream: Upstream, collector: Collector):
    key = traced.mint()
    upstream.script = chat_answer(PROMPT)
    collector.span_of(ask(traced, key, messages=[{"role": "user", "content": PROMPT}]))
    assert not [secret for secret in (PROMPT, key, UPSTREAM_KEY) if secret.encode() in b"".join(collector.bodies)]


def test_off_the_clients_headers_pass_as_they_are(sluice: Sluice, upstream: Upstream):
    for traceparent in (TRACEPARENT, "what they like"):
        ask(sluice, sluice.mint(), headers={"traceparent": traceparent, "tracestate": "vendor=1"})
        assert upstream.last.header_values("traceparent") == [traceparent]
        assert upstream.last.header_values("tracestate") == ["vendor=1"]
    ask(sluice, sluice.mint())
    assert upstream.last.header_values("traceparent") == []


def test_a_collector_that_is_away_costs_no_request(start_sluice: Callable[..., Sluice], upstream: Upstream):
    server = start_sluice(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{processes.free_port()}", GRACE_SECS=20)
    key = server.mint()
    assert {ask(server, key).status_code for _ in range(30)} == {200}
    assert server.stop() == 0
    assert "traceback" not in server.log_text().lower()


def test_the_last_spans_are_sent_at_the_end(start_sluice: Callable[..., Sluice], upstream: Upstream):
    with Collector() as collector:
        server = start_sluice(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY=3_600_000)
        answer = ask(server, server.mint())
        assert collector.bodies == []
        assert server.stop() == 0
        assert answer.headers["x-request-id"] in collector.spans()


@pytest.mark.parametrize(
    "variables, on",
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_opentelemetrys_variables_turn_it_on(variables: dict[str, str], on: bool):
    env = Environment(variables)
    assert tracing_from(env) is on
    env.finish()


@pytest.mark.parametrize(
    "name, value",
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ],
)
def test_what_it_cannot_do_is_told_at_the_start(name: str, value: str):
    env = Environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", name: value})
    tracing_from(env)
    with pytest.raises(ConfigurationError, match=f"sluice: {name}: "):
        env.finish()


def test_without_the_packages_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("config.tracing.find_spec", lambda _: None)
    env = Environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"})
    tracing_from(env)
    with pytest.raises(ConfigurationError, match=r"requirements/otel\.txt"):
        env.finish()


def test_several_workers_trace_each_for_itself(start_sluice: Callable[..., Sluice], upstream: Upstream):
    with Collector() as collector:
        server = start_sluice(
            redis=True, workers=2, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY=100
        )
        key = server.mint()
        ids = {ask(server, key).headers["x-request-id"] for _ in range(20)}
        soon(lambda: ids <= collector.spans().keys())
        server.close()
