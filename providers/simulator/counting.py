"""Token counts and usage objects. One word is one token, and so is each number of a tokenized prompt.

The setting `usage` decides which frames of a streamed chat or legacy completion contain usage:
`openai`  a frame of its own at the end if `stream_options.include_usage` is set; the others have `"usage": null`;
`always`  a frame of its own at the end, also if the client did not ask for it;
`last`    the last frame that has choices;
`every`   every frame, with the counts so far;
`none`    no frame, and no plain answer either.
A stream of the Responses API has usage in its last event, unless `usage` is `none`.
"""

from __future__ import annotations

from typing import Any


def words_in(value: Any) -> int:
    """The number of prompt tokens in a prompt, messages or input items, at any depth."""
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
