"""The frames that chat and legacy completions stream: chunks with choices, then `[DONE]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import msgspec

from providers.simulator.counting import chat_usage
from providers.simulator.delivery import Stream, frame
from providers.simulator.reply import Ask, Choice

DONE = b"data: [DONE]\n\n"
MARK = "\x01token\x01"
ENCODED_MARK = msgspec.json.encode(MARK)

Shape = Callable[[int, str], dict[str, Any]]
"""Makes one choice of a chunk from the choice's index and a token or finish reason."""


class Chunks:
    """Builds the frames of one streamed answer. `counting.py` says which of them contain usage."""

    def __init__(self, ask: Ask, envelope: dict[str, Any], prompt_tokens: int) -> None:
        self.envelope = envelope
        self.prompt_tokens = prompt_tokens
        self.mode = ask.settings.usage
        self.own_frame = self.mode == "always" or (self.mode == "openai" and ask.include_usage)
        # OpenAI adds `"usage": null` only if the client asked for usage.
        self.null = self.own_frame and ask.include_usage

    def chunk(self, choices: list[dict[str, Any]], completion_tokens: int, *, tell: bool = False) -> bytes:
        data = {**self.envelope, "choices": choices}
        if tell or self.mode == "every":
            data["usage"] = chat_usage(self.prompt_tokens, completion_tokens)
        elif self.null:
            data["usage"] = None
        return frame(data)

    def stream(self, choices: list[Choice], lead: Shape | None, token: Shape, finish: Shape) -> Stream:
        total = sum(len(choice.tokens) for choice in choices)
        closing = [
            self.chunk([finish(index, choice.finish)], total, tell=self.mode == "last" and index == len(choices) - 1)
            for index, choice in enumerate(choices)
        ]
        if self.own_frame:
            closing.append(self.chunk([], total, tell=True))
        whole = self.chunk([token(0, "half")], 0)
        return Stream(
            opening=[],
            lead=[self.chunk([lead(index, "")], 0) for index in range(len(choices))] if lead else [],
            tokens=self.tokens(choices, token),
            closing=closing,
            last=[DONE],
            broken=whole[: len(whole) // 2] + b"\n\n",
        )

    def tokens(self, choices: list[Choice], token: Shape) -> Iterator[list[bytes]]:
        sent = 0
        around = [self.around(index, token) for index in range(len(choices))]
        for turn in zip_longest(*(choice.tokens for choice in choices)):
            frames = []
            for index, word in enumerate(turn):
                if word is None:
                    continue
                sent += 1
                if self.mode == "every":
                    frames.append(self.chunk([token(index, word)], sent))
                else:
                    prefix, suffix = around[index]
                    frames.append(prefix + msgspec.json.encode(word) + suffix)
            yield frames

    def around(self, index: int, token: Shape) -> tuple[bytes, bytes]:
        """What stands before and after the token in a frame. Encoding a word costs a tenth of encoding a chunk."""
        # Searched from the right, because the model's name comes before the choices and may contain the mark.
        prefix, _, suffix = self.chunk([token(index, MARK)], 0).rpartition(ENCODED_MARK)
        return prefix, suffix
