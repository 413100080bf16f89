"""F122: what each kind of dispatcher sends, over a real socket, and what it makes of the answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.dispatching import AT, SECRET, event, target
from tests.kit.services import processes
from tests.kit.upstream import Received, Upstream, body_answer, json_answer
from usage.dispatch import DISPATCHERS
from usage.dispatch.base import Dispatcher, Later, PartlyDelivered, Refused
from usage.dispatch.ids import trace_and_span_of, uuid_of
from usage.sending.post import new_client
from usage.sending.signature import verify

Make = Callable[..., Dispatcher]
TAKEN = json_answer({})


@pytest.fixture
def make(upstream: Upstream) -> Iterator[Make]:
    upstream.script = TAKEN
    with new_client(5) as client:

        def make(kind: str, **options: Any) -> Dispatcher:
            return DISPATCHERS[kind](target(kind, **{"url": upstream.url.removesuffix("/v1"), **options}), client)

        yield make


WEB = [kind for kind in DISPATCHERS if kind != "file"]
web = pytest.mark.parametrize("kind", WEB)


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_gets_a_line_for_each_event(make: Make, tmp_path: Path):
    path = tmp_path / "sub" / "events.jsonl"
    file = make("file", path=str(path))
    file.deliver([event(1), event(2, cost_picousd=None, outcome="refused", error="key_revoked")])
    file.deliver([event(3)])
    first, second, third = lines_of(path)
    assert first["id"] == "req_1"
    assert first["created_at"] == "2026-09-21T14:13:21.250+00:00"
    assert (first["endpoint"], first["status_code"], first["key"]) == ("/v1/chat/completions", 200, 7)
    assert (first["cost_usd"], first["prompt_tokens"], first["tags"]) == ("0.000052800000", 12, ["a", "b"])
    assert (second["cost_usd"], second["error"], third["id"]) == (None, "key_revoked", "req_3")
    assert path.stat().st_mode & 0o077 == 0


def test_a_line_has_the_fields_of_a_row_of_the_api(make: Make, tmp_path: Path):
    from usage.ledger.serializers import RequestRecordSerializer

    path = tmp_path / "events.jsonl"
    make("file", path=str(path)).deliver([event(1)])
    [line] = lines_of(path)
    assert set(line) == set(RequestRecordSerializer.Meta.fields) - {"key_name", "project_name"}


def test_a_file_is_rotated(make: Make, tmp_path: Path):
    path = tmp_path / "events.jsonl"
    file = make("file", path=str(path), max_bytes=2000, backups=2)
    for number in range(12):
        file.deliver([event(number)])
    files = [tmp_path / name for name in ("events.jsonl.2", "events.jsonl.1", "events.jsonl")]
    kept = [line["id"] for each in files for line in lines_of(each)]
    assert kept == [f"req_{number}" for number in range(12 - len(kept), 12)]
    assert all(each.stat().st_size <= 2000 for each in files)
    assert not (tmp_path / "events.jsonl.3").exists()


def test_half_a_line_of_a_writer_that_died_goes_away(make: Make, tmp_path: Path):
    path = tmp_path / "events.jsonl"
    file = make("file", path=str(path))
    file.deliver([event(1)])
    with path.open("ab") as torn:
        torn.write(b'{"id": "req_2", "crea')
    file.deliver([event(2)])
    assert [line["id"] for line in lines_of(path)] == ["req_1", "req_2"]


def test_a_file_that_takes_nothing_is_asked_later(make: Make):
    with pytest.raises(Later, match=r"takes nothing"):
        make("file", path="/proc/nowhere/events.jsonl").deliver([event(1)])


def test_a_webhook_gets_signed_batches(make: Make, upstream: Upstream):
    webhook = make("webhook", url=f"{upstream.url}/hook?x=1", headers=(("x-team", "red"),))
    webhook.deliver([event(1), event(2)])
    got = upstream.last
    assert (got.method, got.path, got.query) == ("POST", "/v1/hook", "x=1")
    verify(SECRET, dict(got.headers), got.body, time.time())
    assert got.header("content-type") == "application/json"
    assert got.header("x-team") == "red"
    document = got.json()
    assert document["type"] == "requests"
    assert [each["id"] for each in document["data"]] == ["req_1", "req_2"]
    webhook.deliver([event(1), event(2)])
    webhook.deliver([event(2)])
    again, other = upstream.requests[1:]
    assert again.header("webhook-id") == got.header("webhook-id") != other.header("webhook-id")
    assert again.body == got.body


def test_lunary_gets_a_start_and_an_end(make: Make, upstream: Upstream):
    failed = event(2, outcome="upstream_error", error="upstream_timeout", endpoint="/v1/embeddings", prompt_tokens=None)
    make("lunary").deliver([event(1), failed])
    got = upstream.last
    assert (got.path, got.header("authorization")) == ("/v1/runs/ingest", "Bearer key-of-the-tests")
    start, end, other, error = got.json()["events"]
    assert (start["type"], start["event"], start["name"]) == ("llm", "start", "gpt-4.1-mini")
    assert start["runId"] == end["runId"] == uuid_of("req_1") != other["runId"]
    assert (start["timestamp"], end["timestamp"]) == ("2026-09-21T14:13:21.250Z", "2026-09-21T14:13:21.500Z")
    assert end["tokensUsage"] == {"prompt": 12, "completion": 30}
    assert (start["userId"], start["tags"]) == ("5", ["a", "b"])
    assert start["metadata"]["request_id"] == "req_1"
    assert (other["type"], error["event"], error["error"]) == ("embed", "error", {"message": "upstream_timeout"})


@pytest.mark.parametrize("answer", [b"", b"ok", b"[]", b"{}", b'{"success":true}'])
def test_what_lunary_took_it_need_not_speak_of(make: Make, upstream: Upstream, answer: bytes):
    upstream.answers(body_answer(answer, content_type="application/json"))
    assert make("lunary").deliver([event(1)]) == []


def test_a_page_is_not_lunarys(make: Make, upstream: Upstream):
    upstream.answers(body_answer(b"<html>Sign in</html>", content_type="text/html"))
    with pytest.raises(Later):
        make("lunary").deliver([event(1)])


def test_lunary_knows_a_run_again_and_says_which_it_will_not_have(make: Make, upstream: Upstream):
    def answer(got: Received) -> Any:
        runs = dict.fromkeys(part["runId"] for part in got.json()["events"])
        errors = ["Run with this ID already exists in the database.", "Invalid run"]
        results = [{"id": run, "success": False, "error": error} for run, error in zip(runs, errors, strict=True)]
        return json_answer({"results": [*results, {"id": next(iter(runs)), "success": True}]})

    upstream.answers(answer)
    [rejected] = make("lunary").deliver([event(1), event(2)])
    assert (rejected.event.id, rejected.reason) == ("req_2", "Invalid run")


def test_helicone_gets_a_log_for_each(make: Make, upstream: Upstream):
    make("helicone").deliver([event(1), event(2, ttft_ms=None, user=None)])
    logs = {
        got.json()["providerRequest"]["meta"]["Helicone-Property-Sluice-Request-Id"]: got for got in upstream.whole()
    }
    got = logs["req_1"]
    assert (got.path, got.header("authorization")) == ("/custom/v1/log", "Bearer key-of-the-tests")
    log = got.json()
    assert log["providerRequest"]["url"] == "custom-model-nopath"
    assert log["providerRequest"]["json"]["model"] == "fast"
    assert log["providerRequest"]["meta"]["Helicone-Request-Id"] == uuid_of("req_1")
    assert log["providerRequest"]["meta"]["Helicone-User-Id"] == "5"
    assert all(isinstance(value, str) for value in log["providerRequest"]["meta"].values())
    usage = {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42}
    assert log["providerResponse"] == {
        "status": 200, "headers": {}, "json": {"id": "req_1", "model": "gpt-4.1-mini", "usage": usage}
    }  # fmt: skip
    start, end = log["timing"]["startTime"], log["timing"]["endTime"]
    assert (start["seconds"], start["milliseconds"]) == (int(AT) + 1, 250)
    assert (end["seconds"], end["milliseconds"]) == (int(AT) + 1, 500)
    assert log["timing"]["timeToFirstToken"] == 80.0
    assert "timeToFirstToken" not in logs["req_2"].json()["timing"]


def test_helicone_tells_what_arrived_of_a_batch(make: Make, upstream: Upstream):
    def answer(got: Received) -> Any:
        number = got.json()["providerRequest"]["meta"]["Helicone-Property-Sluice-Request-Id"]
        return json_answer({}, {"req_1": 200, "req_2": 503, "req_3": 400}[number])

    upstream.script = answer
    with pytest.raises(PartlyDelivered, match="503") as partly:
        make("helicone").deliver([event(1), event(2), event(3)])
    assert [each.id for each in partly.value.delivered] == ["req_1"]
    [rejected] = make("helicone").deliver([event(1), event(3)])
    assert rejected.event.id == "req_3"


def test_a_collector_gets_spans_by_the_conventions(make: Make, upstream: Upstream):
    refused = event(2, model="", endpoint="models", method="GET", path="/v1/models", outcome="refused",
                    error="key_revoked", status=401)  # fmt: skip
    make("otlp", headers=(("x-api-key", "k"),)).deliver([event(1), refused])
    got = upstream.last
    assert (got.path, got.header("content-type"), got.header("x-api-key")) == ("/v1/traces", "application/json", "k")
    [resource] = got.json()["resourceSpans"]
    assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "sluice"}}]
    span, other = resource["scopeSpans"][0]["spans"]
    assert (span["traceId"], span["spanId"]) == trace_and_span_of("req_1")
    assert (len(span["traceId"]), len(span["spanId"])) == (32, 16)
    assert (span["name"], span["kind"], span["status"]) == ("chat fast", 3, {"code": 1})
    assert span["startTimeUnixNano"] == "1790000001250000000"
    assert span["endTimeUnixNano"] == "1790000001500500000"
    attributes = {each["key"]: each["value"] for each in span["attributes"]}
    assert attributes["gen_ai.operation.name"] == {"stringValue": "chat"}
    assert attributes["gen_ai.provider.name"] == {"stringValue": "openai"}
    assert attributes["gen_ai.request.model"] == {"stringValue": "fast"}
    assert attributes["gen_ai.response.model"] == {"stringValue": "gpt-4.1-mini"}
    assert attributes["gen_ai.usage.input_tokens"] == {"intValue": "12"}
    assert attributes["gen_ai.usage.output_tokens"] == {"intValue": "30"}
    assert attributes["sluice.stream"] == {"boolValue": False}
    assert attributes["sluice.tags"] == {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}
    assert attributes["sluice.cost_usd"] == {"stringValue": "0.000052800000"}
    assert "error.type" not in attributes
    assert (other["name"], other["status"]) == ("GET models", {"code": 2, "message": "key_revoked"})


@pytest.mark.parametrize("base", ["", "/", "/v1/traces", "/v1/traces/"])
def test_a_collectors_url_may_be_its_own_or_the_whole(make: Make, upstream: Upstream, base: str):
    make("otlp", url=upstream.url.removesuffix("/v1") + base).deliver([event(1)])
    assert upstream.last.path == "/v1/traces"


@pytest.mark.parametrize("rejected", ["2", 2])
def test_a_collector_that_takes_a_part_is_not_sent_it_again(make: Make, upstream: Upstream, rejected: Any):
    upstream.answers(json_answer({"partialSuccess": {"rejectedSpans": rejected, "errorMessage": "too old"}}))
    there = make("otlp").deliver([event(1), event(2), event(3)])
    assert [each.event.id for each in there] == ["req_1", "req_2", "req_3"]
    assert "2 of 3: too old" in there[0].reason


def test_what_names_no_model_is_nothing_for_those_who_list_models(make: Make):
    nameless = event(1, model="")
    assert {kind: make(kind).wants(nameless) for kind in DISPATCHERS} == {
        "file": True, "webhook": True, "otlp": True, "lunary": False, "helicone": False
    }  # fmt: skip


@web
@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503, 302])
def test_what_is_the_targets_or_the_settings_fault_is_tried_again(
    make: Make, upstream: Upstream, kind: str, status: int
):
    upstream.answers(json_answer({}, status, {"retry-after": "7", "location": "/elsewhere"}))
    with pytest.raises(Later, match=str(status)) as later:
        make(kind).deliver([event(1)])
    assert later.value.retry_after_s == 7
    assert len(upstream.requests) == 1


@web
@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_the_batchs_fault_is_not(make: Make, upstream: Upstream, kind: str, status: int):
    upstream.answers(json_answer({"message": "no such field"}, status))
    if kind == "helicone":  # has a request for each event, so it can tell which one
        [rejected] = make(kind).deliver([event(1)])
        assert f"{status}; " in rejected.reason
        assert "no such field" in rejected.reason
        return
    with pytest.raises(Refused, match=str(status)) as refused:
        make(kind).deliver([event(1)])
    assert "no such field" in refused.value.detail


@web
def test_nobody_there_is_tried_again_and_no_secret_is_told(make: Make, kind: str):
    url = f"http://user:hunter2@127.0.0.1:{processes.free_port()}"
    with pytest.raises(Later) as later:
        make(kind, url=url).deliver([event(1)])
    assert str(later.value) == "ConnectError"
    assert later.value.__cause__ is None


def test_a_targets_secrets_do_not_show():
    assert SECRET not in repr(target("webhook", url="http://user:hunter2@x")) + str(target("webhook"))
    assert "hunter2" not in repr(target("webhook", url="http://user:hunter2@x"))


def test_an_answer_without_end_is_read_to_a_bound(make: Make, upstream: Upstream):
    from tests.kit.upstream import Chunk, stream_head

    piece = Chunk(b"x" * 65536)
    upstream.answers([stream_head(), *[piece] * 20, *[piece] * 400])
    make("webhook").deliver([event(1)])
    assert upstream.last.sent_bytes < 20_000_000
