"""The current `openai` Python SDK against the running server, as programs use it."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import Any

import openai
import pytest

from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, body_answer, error_answer, json_answer

MESSAGES: Any = [{"role": "user", "content": "hi"}]
MODEL = "gpt-4.1-mini"


@pytest.fixture
def client(sluice: Sluice, key: str):
    with sluice.openai(key) as client:
        yield client


def test_chat(client: openai.OpenAI, key: str, upstream: Upstream):
    completion = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert completion.choices[0].message.content == "hi"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 10
    assert key not in str(upstream.last.headers)


def test_chat_stream(client: openai.OpenAI):
    chunks = list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello world!"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_stream_with_usage(client: openai.OpenAI):
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


def test_raw_response_has_the_gateways_headers(client: openai.OpenAI):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-provider"] == "openai"
    assert raw.parse().choices[0].message.content == "hi"


def test_streaming_response_is_read_line_by_line(client: openai.OpenAI):
    create = client.chat.completions.with_streaming_response.create
    with create(model=MODEL, messages=MESSAGES, stream=True) as raw:
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_async_calls_run_side_by_side(sluice: Sluice, key: str):
    async def many() -> list[str | None]:
        async with sluice.async_openai(key) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model=MODEL, messages=MESSAGES) for _ in range(20))
            )
            text = ""
            async for chunk in await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
                text += chunk.choices[0].delta.content or ""
            assert text == "Hello world!"
        return [answer.choices[0].message.content for answer in answers]

    assert asyncio.run(many()) == ["hi"] * 20


def test_legacy_completions(client: openai.OpenAI):
    assert client.completions.create(model=MODEL, prompt="x").choices[0].text == "hi"


def test_responses(client: openai.OpenAI):
    response = client.responses.create(model=MODEL, input="hi")
    assert response.output_text == "hi"


def test_responses_stream(client: openai.OpenAI):
    events = list(client.responses.create(model=MODEL, input="hi", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


def test_embeddings(client: openai.OpenAI):
    embeddings = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
    assert len(embeddings.data) == 2


def test_models(client: openai.OpenAI, upstream: Upstream):
    upstream.paths["/models/no-such-model"] = error_answer(404, "The model does not exist.", "model_not_found")
    assert "gpt-4.1" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4.1").id == "gpt-4.1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_file_upload_arrives_whole(client: openai.OpenAI, upstream: Upstream):
    upstream.paths["/v1/files"] = json_answer(
        {
            "id": "file-1",
            "object": "file",
            "bytes": 3,
            "created_at": 1,
            "filename": "f",
            "purpose": "batch",
            "status": "processed",
        }
    )
    content = bytes(range(256)) * 40_000
    stored = client.files.create(file=("data.jsonl", io.BytesIO(content)), purpose="batch")
    assert stored.id == "file-1"
    sent = upstream.last
    assert (sent.header("content-type") or "").startswith("multipart/form-data; boundary=")
    assert content in sent.body


def test_file_content_comes_down_as_bytes(client: openai.OpenAI, upstream: Upstream):
    content = bytes(range(256)) * 10_000
    upstream.paths["/v1/files/file-1/content"] = body_answer(content, content_type="application/octet-stream")
    downloaded = client.files.content("file-1").read()
    assert hashlib.sha256(downloaded).digest() == hashlib.sha256(content).digest()


def test_images(client: openai.OpenAI, upstream: Upstream):
    upstream.paths["/v1/images/generations"] = json_answer({"created": 1, "data": [{"b64_json": "aGk="}]})
    image = client.images.generate(model="gpt-image-1", prompt="a weir")
    assert image.data is not None
    assert image.data[0].b64_json == "aGk="


def test_audio_bytes(client: openai.OpenAI, upstream: Upstream):
    sound = b"ID3" + bytes(range(256)) * 1000
    upstream.paths["/v1/audio/speech"] = body_answer(sound, content_type="audio/mpeg")
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="hi") as speech:
        assert b"".join(speech.iter_bytes()) == sound


def test_audio_transcription(client: openai.OpenAI, upstream: Upstream):
    upstream.paths["/v1/audio/transcriptions"] = json_answer({"text": "hi"})
    answer = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF" + bytes(5000)))
    assert answer.text == "hi"
    assert b'name="model"' in upstream.last.body


def test_errors_are_the_sdks_own(sluice: Sluice, client: openai.OpenAI, upstream: Upstream):
    with sluice.openai("sk-sluice-nonsense") as stranger, pytest.raises(openai.AuthenticationError) as refused:
        stranger.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert refused.value.code == "invalid_api_key"
    upstream.answers(error_answer(429, "slow down", code="rate_limit_exceeded"))
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    upstream.answers(error_answer(400, "too long", code="context_length_exceeded"))
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert too_long.value.code == "context_length_exceeded"
    upstream.answers(error_answer(500))
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
