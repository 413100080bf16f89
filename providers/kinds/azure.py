"""Azure OpenAI, by deployment (`https://NAME.openai.azure.com/openai`) or through its v1 API (`…/openai/v1`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.kinds.base import Headers, Kind, health_problem, unknown_option

# The paths that contain a deployment: https://learn.microsoft.com/azure/ai-foundry/openai/reference
BY_DEPLOYMENT = ("/chat/completions", "/completions", "/embeddings", "/audio/", "/images/")
DEFAULT_API_VERSION = "2024-10-21"
_SAYS_VERSION = re.compile(r"(?:^|&)api-version=[^&]", re.IGNORECASE)


class Azure(Kind):
    """Options: `api_version` (default 2024-10-21); `include_usage` and `health_path` as in kind `openai`.

    `api_version` is not used if the base URL ends in `/v1`, or if the client's query names a version.
    """

    name = "azure"
    addresses_models = True
    telemetry_name = "azure.ai.openai"

    def problem_with(self, options: Any) -> str | None:
        if problem := super().problem_with(options):
            return problem
        if problem := unknown_option(options, ("api_version", "health_path", "include_usage")):
            return problem
        if not isinstance(options.get("include_usage", True), bool):
            return "`include_usage` is true or false."
        version = options.get("api_version", DEFAULT_API_VERSION)
        if not isinstance(version, str) or not version.replace("-", "").isalnum():
            return "`api_version` is a date such as 2024-10-21."
        return health_problem(options)

    def auth_headers(self, secret: str, options: Mapping[str, Any]) -> Headers:
        return [(b"api-key", secret.encode())]

    def path(self, base_path: str, rest: str, query: str, model: str, options: Mapping[str, Any]) -> str:
        if base_path.endswith("/v1"):
            return super().path(base_path, rest, query, model, options)
        if model and rest.startswith(BY_DEPLOYMENT):
            rest = f"/deployments/{quote(model, safe='')}{rest}"
        if _SAYS_VERSION.search(query):
            return f"{base_path}{rest}?{query}"
        version = f"api-version={options.get('api_version', DEFAULT_API_VERSION)}"
        return f"{base_path}{rest}?{version}&{query}" if query else f"{base_path}{rest}?{version}"
