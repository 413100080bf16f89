"""Where a request's limits stand, as headers of its answer (F102)."""

from __future__ import annotations

from math import ceil

from keys.limits import Standings


def standings_lines(standings: Standings) -> bytes:
    """OpenAI's headers (https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers), and those that
    other gateways' clients look for. Times are seconds until the whole limit is free again.
    """
    lines = b""
    requests, tokens, _ = standings
    if requests is not None:
        limit, remaining, reset_s = requests
        lines = (
            b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
            b"x-ratelimit-reset-requests: %.3fs\r\nx-ratelimit-limit-rpm: %d\r\nx-ratelimit-remaining-rpm: %d\r\n"
        ) % (limit, remaining, reset_s, limit, remaining)
    if tokens is not None:
        limit, remaining, reset_s = tokens
        lines += (
            b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\n"
            b"x-ratelimit-reset-tokens: %.3fs\r\nx-ratelimit-limit-tpm: %d\r\nx-ratelimit-remaining-tpm: %d\r\n"
        ) % (limit, remaining, reset_s, limit, remaining)
    first = requests or tokens
    return lines if first is None else lines + b"x-ratelimit-reset: %d\r\n" % ceil(first.reset_s)
