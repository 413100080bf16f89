"""Lists the members of an API's requests and answers that a model reads and writes. Estimates of tokens use them."""

from __future__ import annotations

import re
from typing import NamedTuple


class Words(NamedTuple):
    """The lists of one API. A request with a member that is in no list has no bound: the member may bring anything to
    read.
    """

    read: frozenset[str]
    """The members of a request that a model reads."""

    unread: frozenset[str]
    """Members that bring nothing to read, and do not make the answer longer than its limit."""

    functions: frozenset[str]
    """Types of tools that a model only asks the client to call. Other tools (a search, a server of tools) bring text
    that the model reads, and that is charged.
    """

    item_members: frozenset[str]
    """Members of a message, or of an item of a response's input, that are text or little else."""

    item_types: frozenset[str]
    part_members: frozenset[str]
    part_types: frozenset[str]
    """Members and types of the parts in a member of `may_have_parts`."""

    may_have_parts: tuple[str, ...]

    written: re.Pattern[bytes]
    """Finds the texts of an answer, in JSON that may break off anywhere. Each text is the first group of a match."""


OPENAI = Words(
    read=frozenset(
        {
            *("messages", "input", "prompt", "suffix", "instructions", "tools", "functions", "tool_choice"),
            *("function_call", "response_format", "text"),
        }
    ),
    unread=frozenset(
        {
            *("model", "stream", "stream_options", "store", "metadata", "user", "safety_identifier", "service_tier"),
            *("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "stop", "seed", "echo"),
            *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
            *("logprobs", "top_logprobs", "logit_bias", "parallel_tool_calls", "reasoning_effort", "reasoning"),
            *("verbosity", "include", "truncation", "prompt_cache_key", "prompt_cache_retention", "encoding_format"),
            *("dimensions", "background"),
        }
    ),
    functions=frozenset({"function", "custom"}),
    item_members=frozenset(
        {
            *("role", "name", "type", "id", "status", "content", "refusal", "tool_calls", "tool_call_id"),
            *("function_call", "call_id", "arguments", "input", "output", "reasoning", "reasoning_content", "summary"),
            "cache_control",
        }
    ),
    item_types=frozenset(
        {
            *("message", "reasoning", "function_call", "function_call_output"),
            *("custom_tool_call", "custom_tool_call_output"),
        }
    ),
    part_members=frozenset({"type", "text", "refusal", "annotations", "logprobs", "cache_control"}),
    part_types=frozenset({"text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"}),
    may_have_parts=("content", "output", "summary", "reasoning", "reasoning_content"),
    written=re.compile(
        rb'"(?:content|text|reasoning_content|reasoning|refusal|arguments|name)"\s*:\s*'
        rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)',
        re.DOTALL,
    ),
)
