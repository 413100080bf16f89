"""Step 6: look up the answer in the response cache. There is no cache yet, so every request goes on.

The look-up comes after admission, because a hit is a request as well, and before a provider is chosen, because a hit
needs none.
"""

from __future__ import annotations

from proxy.exchange import Exchange


def look_up(exchange: Exchange) -> None:
    """Set `cache`, which the client gets as `X-Cache`."""
    exchange.cache = "BYPASS"
