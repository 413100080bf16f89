"""The parameters of a request for text, and the tokens of its answer. Each endpoint's module formats them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

from providers.simulator.refusals import RefusedError, member
from providers.simulator.schema import tokens_fitting
from providers.simulator.settings import MAX_TOKENS, ContentFilter, Settings
from providers.simulator.text import as_json_object, stop_at, words, words_of_size

CREATED = 1_700_000_000
FINGERPRINT = "fp_simulator"


class Tool(NamedTuple):
    """A function that the answer calls."""

    name: str
    parameters: Any


class Choice(NamedTuple):
    """One choice: its tokens, and its finish reason (`stop`, `length`, `content_filter` or `tool_calls`)."""

    tokens: list[str]
    finish: str

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass
class Ask:
    """A request with a JSON body. Its members raise `RefusedError` for a parameter of a wrong type."""

    body: dict[str, Any]
    settings: Settings
    key: str
    """A hash of path and body, used in the ids of the answer."""
    seed: bytes
    """Chooses the words. It is the same whether the answer is streamed or not, and with any `simulate`."""
    model: str = field(init=False)

    def __post_init__(self) -> None:
        self.model = member(self.body, "model", str)
        if not self.model:
            raise RefusedError("You must provide a model parameter.", param="model", code="missing_required_parameter")
        if member(self.body, "stream_options", dict) and not self.stream:
            message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise RefusedError(message, param="stream_options")

    @cached_property
    def stream(self) -> bool:
        return bool(member(self.body, "stream", bool, False))

    @cached_property
    def include_usage(self) -> bool:
        return bool(member(member(self.body, "stream_options", dict, {}), "include_usage", bool, False))

    @cached_property
    def stops(self) -> list[str]:
        stop = member(self.body, "stop", (str, list), [])
        return [stop] if isinstance(stop, str) else [each for each in stop if isinstance(each, str)]

    @cached_property
    def tool(self) -> Tool | None:
        """The function to call if `tool_choice` demands a call; None if it only allows one."""
        choice = member(self.body, "tool_choice", (str, dict), "auto")
        if choice != "required" and not isinstance(choice, dict):
            return None
        # Chat nests name and parameters in `function`, the Responses API does not.
        flat = [
            each.get("function", each)
            for each in member(self.body, "tools", list, [])
            if isinstance(each, dict) and each.get("type") == "function"
        ]
        wanted = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
        for each in flat:
            if isinstance(each, dict) and isinstance(each.get("name"), str) and wanted in (None, each["name"]):
                return Tool(each["name"], each.get("parameters"))
        raise RefusedError(
            "'tool_choice' asks for a function that 'tools' does not have.", param="tool_choice", code="invalid_value"
        )

    def choices(
        self,
        plain: Callable[[list[Choice]], bytes],
        *,
        count: int = 1,
        limit: int | None = None,
        output: Any = None,
    ) -> list[Choice]:
        """The choices of the answer, each with at most `limit` tokens. Raises `RefusedError`.

        `plain` makes the body of a plain answer, whose size is needed for the setting `bytes`. `output` is the format
        that the client asked for.
        """
        if count * self.settings.tokens > MAX_TOKENS:
            message = f"Altogether at most {MAX_TOKENS} tokens, asked for {count} x {self.settings.tokens}."
            raise RefusedError(message, param="simulate.tokens", code="invalid_value")
        size = None
        if self.settings.bytes is not None:
            size = (self.settings.bytes - len(plain([Choice([], "stop")] * count))) // count
        return [self.choice(b"%s/%d" % (self.seed, index), size, limit, output) for index in range(count)]

    def choice(self, seed: bytes, size: int | None, limit: int | None, output: Any) -> Choice:
        form = output.get("type") if isinstance(output, dict) else None
        if self.tool:
            tokens = tokens_fitting(self.tool.parameters or {"type": "object"}, sha256(seed).digest())
        elif form == "json_schema":
            schema = output.get("json_schema", output)
            tokens = tokens_fitting(schema.get("schema") if isinstance(schema, dict) else None, sha256(seed).digest())
        elif form == "json_object":
            tokens = as_json_object(plainly(seed, size, max(1, self.settings.tokens - 1)))
        else:
            tokens = plainly(seed, size, self.settings.tokens)
        finish = "tool_calls" if self.tool else "stop"
        if self.stops and not self.tool:
            tokens = stop_at(tokens, self.stops)
        if limit is not None and len(tokens) > limit:
            tokens, finish = tokens[:limit], "length"
        if isinstance(self.settings.fault, ContentFilter):
            finish = "content_filter"
        return Choice(tokens, finish)


def plainly(seed: bytes, size: int | None, count: int) -> list[str]:
    return words(seed, count) if size is None else words_of_size(seed, size)
