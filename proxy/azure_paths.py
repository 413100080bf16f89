"""Paths as Azure's programs write them, put under `/v1`: such a program changes its endpoint and nothing else.

`/openai/deployments/NAME/chat/completions` is `/v1/chat/completions` of the model NAME, whatever its body says, as it
is with Azure; `/openai/responses` and `/openai/v1/responses` are `/v1/responses`. The same holds behind `/v1`, for who
gives Sluice's address with it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from proxy.bounds import MAX_MODEL_CHARS
from proxy.errors import BadRequest, NotFound
from proxy.exchange import Exchange

BEGINNINGS = ("/openai/", "/v1/openai/", "/v1/deployments/")
NOT_HERE = ("/auth", "/keys")
"""The control plane's: no provider may see what is sent to them."""

_PATH = re.compile(r"(?:/v1)?(?:/openai)?(?:/v1)?(?:/deployments/(?P<model>[^/]+))?(?P<rest>/.*)")


def put_under_v1(exchange: Exchange) -> str:
    """The path under `/v1`; sets the model where a deployment is named. Raises `BadRequest`, `NotFound`."""
    raw = exchange.scope.get("raw_path", exchange.path.encode()).decode("latin-1")
    match = _PATH.fullmatch(raw)
    if match is None:
        return exchange.path
    if match["rest"].lower().startswith(NOT_HERE):
        raise NotFound("not_found", "There is nothing at this path.")
    model = unquote(match["model"] or "")
    if len(model) > MAX_MODEL_CHARS or not model.isprintable() or "\ufffd" in model:
        raise BadRequest("invalid_value", "The deployment in the path is not the name of a model.", param="model")
    exchange.deployment = exchange.model = model
    raw = f"/v1{match['rest']}"
    exchange.scope = {**exchange.scope, "raw_path": raw.encode("latin-1")}
    exchange.path = unquote(raw)
    return exchange.path
