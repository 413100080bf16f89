"""Tokens by the simulator's own exact rule: one word is one token, and so is one number of a tokenized prompt.

`usage` decides where a stream of chat or legacy completions tells them:
`openai`  in a frame of its own at the end if `stream_options.include_usage`, with `"usage": null` in the others;
`always`  in a frame of its own although nobody asked;
`last`    in the last frame that has choices;
`every`   in every frame, cumulated;
`none`    nowhere, in plain answers neither.
The Responses API tells usage in its last event (unless `none`).
"""

from __future__ import annotations

from typing import Any


def words_in(value: Any) -> int:
    """The prompt tokens of a prompt, of messages or of input items, however they nest."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, int):
        return 1
    if isinstance(value, list):
        return sum(map(words_in, value))
    if isinstance(value, dict):
        return words_in(value.get("content")) + words_in(value.get("text")) + words_in(value.get("output"))
    return 0


def chat_usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def responses_usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
