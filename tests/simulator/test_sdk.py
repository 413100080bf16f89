"""OpenAI's own SDK against the simulator on a socket."""

from __future__ import annotations

import openai
import pytest

MESSAGES = [{"role": "user", "content": "hello there"}]


def test_chat(client):
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_body={"simulate": {"tokens": 9}})
    assert answer.model == "gpt-4o"
    assert answer.usage.completion_tokens == 9
    assert len(answer.choices[0].message.content.split()) == 9
    assert answer._request_id.startswith("req-sim-")


def test_chat_stream(client):
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    whole = client.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole
    assert chunks[-1].usage.completion_tokens == 16


def test_a_tool_call_is_put_together_from_the_stream(client):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    with client.chat.completions.stream(model="m", messages=MESSAGES, tools=tools, tool_choice="required") as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.name == "f"
    assert message.tool_calls[0].function.arguments == "{}"


def test_legacy_completions(client):
    assert client.completions.create(model="m", prompt="x", max_tokens=3).usage.completion_tokens == 3
    chunks = list(client.completions.create(model="m", prompt="x", max_tokens=3, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"


def test_responses(client):
    answer = client.responses.create(model="m", input="hello there")
    assert len(answer.output_text.split()) == answer.usage.output_tokens == 16
    assert client.responses.retrieve(answer.id).output_text == answer.output_text
    assert client.responses.input_items.list(answer.id).data[0].content[0].text == "hello there"
    assert client.responses.cancel(answer.id).status == "cancelled"
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)
    assert client.responses.create(model="m", input="hello there").id == answer.id
    assert client.responses.retrieve(answer.id).id == answer.id


def test_responses_stream(client):
    with client.responses.stream(model="m", input="hello there") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text
    assert len(text.split()) == 16


def test_embeddings(client):
    # The SDK asks for base64 where nothing else is said, and decodes it.
    packed = client.embeddings.create(model="m", input=["a", "b"], dimensions=32).data
    plain = client.embeddings.create(model="m", input=["a", "b"], dimensions=32, encoding_format="float").data
    assert packed[1].embedding == pytest.approx(plain[1].embedding)
    assert len(packed[0].embedding) == 32


def test_models_and_files(client):
    assert {model.id for model in client.models.list()} == {"simulator", "simulator-small", "simulator-embedding"}
    assert client.models.retrieve("simulator").id == "simulator"
    file = client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
    assert (file.filename, file.purpose) == ("a.jsonl", "batch")


@pytest.mark.parametrize(
    "fault, error",
    [
        ({"kind": "status", "status": 429, "retry_after": 1}, openai.RateLimitError),
        ({"kind": "status", "status": 500}, openai.InternalServerError),
        ({"kind": "context_length"}, openai.BadRequestError),
        ({"kind": "reset"}, openai.APIConnectionError),
        ({"kind": "cut", "after": 3}, openai.APIConnectionError),
        ({"kind": "nonsense"}, openai.BadRequestError),
    ],
)
def test_faults_raise_the_sdks_own_errors(client, fault, error):
    with pytest.raises(error):
        client.chat.completions.create(model="m", messages=MESSAGES, extra_body={"simulate": {"fault": fault}})
