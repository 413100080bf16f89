"""`/completions`: legacy completions."""

from __future__ import annotations

from typing import Any

import msgspec

from providers.simulator.chunks import Chunks
from providers.simulator.counting import chat_usage, words_in
from providers.simulator.delivery import Plain, Stream
from providers.simulator.refusals import RefusedError, counted, member
from providers.simulator.reply import CREATED, FINGERPRINT, Ask, Choice

MOST_CHOICES = 2048


def respond(ask: Ask) -> Plain | Stream:
    """A `text_completion`, whole or in chunks, with `n` choices for each prompt. Raises `RefusedError`."""
    prompt = member(ask.body, "prompt", (str, list), "")
    limit = counted(ask.body, "max_tokens", None, 0, 10**9)
    # A list of texts or of token lists is several prompts; a list of tokens is one.
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    count = prompts * (counted(ask.body, "n", 1, 1, 128) or 1)
    if count > MOST_CHOICES:
        raise RefusedError(f"At most {MOST_CHOICES} choices, asked for {count}.", param="prompt", code="invalid_value")
    prompt_tokens = words_in(prompt)

    def plain(choices: list[Choice]) -> bytes:
        return body(ask, prompt_tokens, choices)

    choices = ask.choices(plain, count=count, limit=limit)
    if ask.stream:
        return Chunks(ask, envelope(ask), prompt_tokens).stream(choices, None, token, finish)
    return Plain(plain(choices), sum(len(choice.tokens) for choice in choices))


def envelope(ask: Ask) -> dict[str, Any]:
    return {
        "id": f"cmpl-sim{ask.key}",
        "object": "text_completion",
        "created": CREATED,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }


def token(index: int, text: str) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": None}


def finish(index: int, reason: str) -> dict[str, Any]:
    return {"text": "", "index": index, "logprobs": None, "finish_reason": reason}


def body(ask: Ask, prompt_tokens: int, choices: list[Choice]) -> bytes:
    data = envelope(ask)
    data["choices"] = [
        {"text": choice.text, "index": index, "logprobs": None, "finish_reason": choice.finish}
        for index, choice in enumerate(choices)
    ]
    if ask.settings.usage != "none":
        data["usage"] = chat_usage(prompt_tokens, sum(len(choice.tokens) for choice in choices))
    return msgspec.json.encode(data)
