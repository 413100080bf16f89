"""What is left of a request's limits, as headers of its answer (F102)."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from keys.limits import Rate

TEMPLATES = 1_000
"""Pairs of limits that are cached; most keys share a few."""


def rate_lines(requests: Rate | None, tokens: Rate | None) -> bytes:
    """OpenAI's headers (https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers), and those that
    other gateways' clients look for. Times are seconds until the whole limit is free again.
    """
    if requests is not None:
        limit, left, reset_s = requests
        if tokens is not None:
            tokens_limit, tokens_left, tokens_reset_s = tokens
            values = (left, reset_s, left, tokens_left, tokens_reset_s, tokens_left, ceil(reset_s))
            return template(limit, tokens_limit) % values
        return template(limit, None) % (left, reset_s, left, ceil(reset_s))
    if tokens is not None:
        limit, left, reset_s = tokens
        return template(None, limit) % (left, reset_s, left, ceil(reset_s))
    return b""


@lru_cache(TEMPLATES)
def template(requests: int | None, tokens: int | None) -> bytes:
    """The lines with the limits filled in, and places for what changes with each request."""
    lines = b""
    for limit, name, short in ((requests, b"requests", b"rpm"), (tokens, b"tokens", b"tpm")):
        if limit is not None:
            lines += b"".join(
                (
                    b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %%d\r\n" % (name, limit, name),
                    b"x-ratelimit-reset-%b: %%.3fs\r\n" % name,
                    b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %%d\r\n" % (short, limit, short),
                )
            )
    return lines + b"x-ratelimit-reset: %d\r\n"
