"""OpenAI, and other servers that speak its API: vLLM, Ollama, Groq, Mistral, DeepSeek, OpenRouter and more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.kinds.base import Headers, Kind, as_headers, header_problem, health_problem, unknown_option


class OpenAI(Kind):
    """Options: `headers` for every request; `include_usage: false` for a server that refuses `stream_options`;
    `health_path`, the path of a health check (default `/models`), or false for none.
    """

    name = "openai"

    def problem_with(self, options: Any) -> str | None:
        if problem := super().problem_with(options):
            return problem
        if problem := unknown_option(options, ("headers", "include_usage", "health_path")):
            return problem
        if not isinstance(options.get("include_usage", True), bool):
            return "`include_usage` is true or false."
        return health_problem(options) or header_problem(options.get("headers", {}))

    def extra_headers(self, options: Mapping[str, Any]) -> Headers:
        return as_headers(options.get("headers", {}))
