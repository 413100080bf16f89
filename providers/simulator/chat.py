"""`/chat/completions`: chat completions, whole and streamed."""

from __future__ import annotations

from typing import Any

import msgspec

from providers.simulator.chunks import Chunks
from providers.simulator.counting import chat_usage, words_in
from providers.simulator.delivery import Plain, Stream
from providers.simulator.refusals import RefusedError, counted, member
from providers.simulator.reply import CREATED, FINGERPRINT, Ask, Choice


def respond(ask: Ask) -> Plain | Stream:
    """A `chat.completion`, whole or in chunks. Raises `RefusedError`."""
    messages = member(ask.body, "messages", list)
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise RefusedError("'messages' must be a list of at least one message.", param="messages", code="invalid_type")
    limit = counted(ask.body, "max_completion_tokens", None, 1, 10**9) or counted(
        ask.body, "max_tokens", None, 1, 10**9
    )
    count = counted(ask.body, "n", 1, 1, 128) or 1
    form = member(ask.body, "response_format", dict)
    prompt_tokens = words_in(messages)

    def plain(choices: list[Choice]) -> bytes:
        return body(ask, prompt_tokens, choices)

    choices = ask.choices(plain, count=count, limit=limit, output=form)
    if ask.stream:
        return stream(ask, prompt_tokens, choices)
    return Plain(plain(choices), sum(len(choice.tokens) for choice in choices))


def body(ask: Ask, prompt_tokens: int, choices: list[Choice]) -> bytes:
    data: dict[str, Any] = {
        "id": f"chatcmpl-sim{ask.key}",
        "object": "chat.completion",
        "created": CREATED,
        "model": ask.model,
        "choices": [
            {
                "index": index,
                "message": message(ask, index, choice),
                "logprobs": None,
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(choices)
        ],
    }
    if ask.settings.usage != "none":
        data["usage"] = chat_usage(prompt_tokens, sum(len(choice.tokens) for choice in choices))
    return msgspec.json.encode({**data, "service_tier": "default", "system_fingerprint": FINGERPRINT})


def message(ask: Ask, index: int, choice: Choice) -> dict[str, Any]:
    reply: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
    if ask.tool:
        function = {"name": ask.tool.name, "arguments": choice.text}
        reply["content"] = None
        reply["tool_calls"] = [{"id": call_id(ask, index), "type": "function", "function": function}]
    return reply


def call_id(ask: Ask, index: int) -> str:
    return f"call_sim{ask.key}{index}"


def stream(ask: Ask, prompt_tokens: int, choices: list[Choice]) -> Stream:
    envelope = {
        "id": f"chatcmpl-sim{ask.key}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }

    def choice(index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}

    def lead(index: int, _: str) -> dict[str, Any]:
        if ask.tool is None:
            return choice(index, {"role": "assistant", "content": "", "refusal": None})
        call = {
            "index": 0,
            "id": call_id(ask, index),
            "type": "function",
            "function": {"name": ask.tool.name, "arguments": ""},
        }
        return choice(index, {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None})

    def token(index: int, text: str) -> dict[str, Any]:
        if ask.tool is None:
            return choice(index, {"content": text})
        return choice(index, {"tool_calls": [{"index": 0, "function": {"arguments": text}}]})

    def finish(index: int, reason: str) -> dict[str, Any]:
        return choice(index, {}, reason)

    return Chunks(ask, envelope, prompt_tokens).stream(choices, lead, token, finish)
