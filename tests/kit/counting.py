"""The token counts of a request in the ledger, if the provider's answer has counts."""

from __future__ import annotations

import json
from typing import Any

from tests.kit.ledger import row_of
from tests.kit.requests import ask
from tests.kit.sluice import Sluice

MODEL = "counted-model"
TOLD = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cache_write_tokens", "audio_tokens"),
    *("usage_source", "cost_picousd", "price_source", "outcome", "error", "status_code"),
)


def counts_of(server: Sluice, key: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send one request, and return the members of its row that are in `TOLD`."""
    answer = ask(server, key, path=path, content=json.dumps({"model": MODEL, **body}).encode())
    assert answer.status_code == 200, answer.text
    row = row_of(server, answer.headers["x-request-id"])
    return {name: row[name] for name in TOLD}
