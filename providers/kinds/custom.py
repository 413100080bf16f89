"""Servers that speak OpenAI's API at other paths, or take the credential in another header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.kinds.base import Headers, Kind, as_headers, header_problem, health_problem, unknown_option

OPTIONS = {"headers", "include_usage", "auth_header", "auth_format", "paths", "health_path"}


class Custom(Kind):
    """The options, all of which may be left out:

    `auth_header` (default `authorization`) and `auth_format` (default `Bearer {key}`): the header of the credential;
    `paths`: from the path after `/v1` to the server's own path, such as {"/chat/completions": "/generate"};
    `headers`: headers for every request; `include_usage: false` for a server that refuses `stream_options`;
    `health_path` as in kind `openai`.
    """

    name = "custom"

    def problem_with(self, options: Any) -> str | None:
        if problem := super().problem_with(options):
            return problem
        if problem := unknown_option(options, OPTIONS):
            return problem
        if not isinstance(options.get("include_usage", True), bool):
            return "`include_usage` is true or false."
        if "{key}" not in str(options.get("auth_format", "{key}")):
            return "`auth_format` needs {key} where the credential goes."
        paths = options.get("paths", {})
        if not isinstance(paths, Mapping) or not all(
            isinstance(path, str) and path.startswith("/") and path.isascii() and path.isprintable() and " " not in path
            for pair in paths.items()
            for path in pair
        ):
            return "`paths` maps paths to paths; each begins with a slash."
        auth = {options.get("auth_header", "authorization"): str(options.get("auth_format", ""))}
        return health_problem(options) or header_problem(auth) or header_problem(options.get("headers", {}))

    def auth_headers(self, secret: str, options: Mapping[str, Any]) -> Headers:
        value = str(options.get("auth_format", "Bearer {key}")).replace("{key}", secret)
        return as_headers({str(options.get("auth_header", "authorization")): value})

    def extra_headers(self, options: Mapping[str, Any]) -> Headers:
        return as_headers(options.get("headers", {}))

    def path(self, base_path: str, rest: str, query: str, model: str, options: Mapping[str, Any]) -> str:
        rest = options.get("paths", {}).get(rest, rest)
        return super().path(base_path, rest, query, model, options)
