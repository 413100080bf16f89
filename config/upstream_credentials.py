"""Upstream credentials from the environment: `OPENAI_API_KEY`, `OPENAI_KEYS`, `OPENAI_KEY_<ALIAS>`."""

from __future__ import annotations

import re

from config.environment import Environment


def credentials_from(env: Environment) -> dict[str, str]:
    """Secrets by alias. `OPENAI_API_KEY` has the alias `default`. Aliases are in lower case."""
    credentials: dict[str, str] = {}
    if secret := env.text("OPENAI_API_KEY"):
        credentials["default"] = secret
    for position, pair in enumerate(env.listed("OPENAI_KEYS"), 1):
        alias, equals, secret = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_.-]+", alias) or not secret:
            # The message does not repeat the pair, because some part of it is a secret.
            env.refuse("OPENAI_KEYS", f"entry {position} does not fit; write alias=key,alias=key")
            continue
        credentials[alias.lower()] = secret
    for name in env.variables:
        if name.startswith("OPENAI_KEY_") and (secret := env.text(name)):
            credentials[name.removeprefix("OPENAI_KEY_").lower()] = secret
    for alias, secret in credentials.items():
        if not secret.isascii() or not secret.isprintable():
            env.refuse(
                "OPENAI_API_KEY, OPENAI_KEYS", f"the key of alias {alias!r} has a character no HTTP header can carry"
            )
    return credentials
