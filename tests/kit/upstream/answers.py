"""Scripts in OpenAI's formats: answers, streams, and the default answer of an upstream."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from tests.kit.upstream.received import Received
from tests.kit.upstream.scripts import Headers, Script, error_answer, frame, json_answer, sse

UsageShape = Literal["usage-only", "last", "every", "none"]

MODEL = "gpt-4.1-mini"
CREATED = 1_760_000_000
TOKENS = ("Hel", "lo", " wor", "ld", "!")


def usage_of(prompt: int = 9, completion: int = 5, **details: Any) -> dict[str, Any]:
    """The usage of a chat completion. `details` are added to it."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **details,
    }


def chat_answer(
    content: str = "hi",
    *,
    model: str = MODEL,
    usage: dict[str, Any] | None = None,
    headers: Headers = (),
    **fields: Any,
) -> Script:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    answer = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [choice],
        "usage": usage_of(completion=1) if usage is None else usage,
        **fields,
    }
    return json_answer(answer, headers=headers)


def chat_frames(
    tokens: Sequence[str] = TOKENS,
    *,
    model: str = MODEL,
    usage: dict[str, Any] | None = None,
    usage_shape: UsageShape = "usage-only",
    include_done: bool = True,
) -> list[bytes]:
    """The frames of a streamed chat completion: the role, each token, and the finish reason.

    `usage_shape` says which frames have usage: one of its own at the end, the `last` with a choice, `every` or `none`.
    """
    usage = usage_of(completion=len(tokens)) if usage is None else usage

    def chunk(delta: dict[str, Any], finish: str | None, told: dict[str, Any] | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        base = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": CREATED, "model": model}
        return {**base, "choices": [choice], **({} if usage_shape == "none" else {"usage": told})}

    def so_far(count: int) -> dict[str, Any] | None:
        if usage_shape != "every":
            return None
        prompt = usage.get("prompt_tokens", 0)
        return {**usage, "completion_tokens": count, "total_tokens": prompt + count}

    chunks = [chunk({"role": "assistant", "content": ""}, None, so_far(0))]
    chunks += [chunk({"content": token}, None, so_far(count)) for count, token in enumerate(tokens, 1)]
    chunks.append(chunk({}, "stop", usage if usage_shape in ("last", "every") else None))
    if usage_shape == "usage-only":
        chunks.append({**chunks[-1], "choices": [], "usage": usage})
    return [*map(frame, chunks), *([frame("[DONE]")] if include_done else [])]


def chat_stream(
    tokens: Sequence[str] = TOKENS,
    *,
    model: str = MODEL,
    usage: dict[str, Any] | None = None,
    usage_shape: UsageShape = "usage-only",
    include_done: bool = True,
    delay: float = 0,
    headers: Headers = (),
) -> Script:
    frames = chat_frames(tokens, model=model, usage=usage, usage_shape=usage_shape, include_done=include_done)
    return sse(frames, delay=delay, headers=headers)


def completion_answer(text: str = "hi", *, model: str = MODEL, usage: dict[str, Any] | None = None) -> Script:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    return json_answer({**_completion(model), "choices": [choice], "usage": usage or usage_of(completion=1)})


def completion_stream(
    tokens: Sequence[str] = TOKENS, *, model: str = MODEL, usage: dict[str, Any] | None = None, with_usage: bool = True
) -> Script:
    def chunk(text: str, finish: str | None) -> dict[str, Any]:
        return {
            **_completion(model),
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}],
        }

    chunks = [*(chunk(token, None) for token in tokens), chunk("", "stop")]
    if with_usage:
        chunks.append({**_completion(model), "choices": [], "usage": usage or usage_of(completion=len(tokens))})
    return sse([*map(frame, chunks), frame("[DONE]")])


def response_object(
    text: str,
    *,
    model: str = MODEL,
    usage: dict[str, Any] | None = None,
    status: str = "completed",
    response_id: str = "resp_upstream",
) -> dict[str, Any]:
    """An object of OpenAI's Responses API."""
    done = status == "completed"
    return {
        "id": response_id,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [_message(text, "completed")] if done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": (usage or response_usage()) if done else None,
    }


def response_usage(prompt: int = 9, completion: int = 5, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }


def responses_answer(
    text: str = "hi",
    *,
    model: str = MODEL,
    usage: dict[str, Any] | None = None,
    response_id: str = "resp_upstream",
) -> Script:
    return json_answer(response_object(text, model=model, usage=usage, response_id=response_id))


def responses_stream(
    tokens: Sequence[str] = TOKENS,
    *,
    model: str = MODEL,
    usage: dict[str, Any] | None = None,
    delay: float = 0,
    response_id: str = "resp_upstream",
) -> Script:
    frames = response_frames(tokens, model=model, usage=usage, response_id=response_id)
    return sse(frames, delay=delay)


def response_frames(
    tokens: Sequence[str] = TOKENS,
    *,
    model: str = MODEL,
    usage: dict[str, Any] | None = None,
    response_id: str = "resp_upstream",
) -> list[bytes]:
    """The typed and numbered events of a streamed response. The last one has the usage."""
    text = "".join(tokens)
    begun = response_object("", model=model, status="in_progress", response_id=response_id)
    place: dict[str, Any] = {"item_id": "msg_upstream", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": text, "annotations": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": _message(None, "in_progress")},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": token, "logprobs": []} for token in tokens),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": _message(text, "completed")},
        {
            "type": "response.completed",
            "response": response_object(text, model=model, usage=usage, response_id=response_id),
        },
    ]
    return [frame({**event, "sequence_number": n}, event["type"]) for n, event in enumerate(events)]


def embeddings_answer(count: int = 1, *, model: str = "text-embedding-3-small", dimensions: int = 4) -> Script:
    data = [
        {"object": "embedding", "index": index, "embedding": [round(0.1 * (n + 1), 1) for n in range(dimensions)]}
        for index in range(count)
    ]
    usage = {"prompt_tokens": 3 * count, "total_tokens": 3 * count}
    return json_answer({"object": "list", "data": data, "model": model, "usage": usage})


def models_answer(names: Iterable[str] = (MODEL, "gpt-4.1")) -> Script:
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "upstream"} for name in names]
    return json_answer({"object": "list", "data": data})


def echo(received: Received) -> Script:
    """The request as JSON. The answer is an empty list too, for clients that asked for a list."""
    return json_answer(
        {
            "object": "list",
            "data": [],
            "method": received.method,
            "path": received.path,
            "query": received.query,
            "headers": received.headers,
            "body_bytes": len(received.body),
            "body_sha256": hashlib.sha256(received.body).hexdigest(),
        }
    )


def default_answer(received: Received) -> Script:
    """What a provider would answer, for tests that do not care."""
    endpoint = received.path.removeprefix("/v1")
    if received.method == "GET" and endpoint == "/models":
        return models_answer()
    if received.method != "POST" or endpoint not in ("/chat/completions", "/completions", "/responses", "/embeddings"):
        return echo(received)
    try:
        body = received.json()
        model = str(body.get("model", MODEL))
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        return error_answer(400, "The body is not a JSON object.")
    stream = bool(body.get("stream"))
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    if endpoint == "/chat/completions":
        shape: UsageShape = "usage-only" if with_usage else "none"
        return chat_stream(model=model, usage_shape=shape) if stream else chat_answer(model=model)
    if endpoint == "/completions":
        return completion_stream(model=model, with_usage=with_usage) if stream else completion_answer(model=model)
    if endpoint == "/responses":
        return responses_stream(model=model) if stream else responses_answer(model=model)
    given = body.get("input")
    return embeddings_answer(len(given) if isinstance(given, list) else 1, model=model)


def _completion(model: str) -> dict[str, Any]:
    return {"id": "cmpl-upstream", "object": "text_completion", "created": CREATED, "model": model}


def _message(text: str | None, status: str) -> dict[str, Any]:
    content = [] if text is None else [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"id": "msg_upstream", "type": "message", "status": status, "role": "assistant", "content": content}
