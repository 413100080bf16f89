"""Paths as Azure's programs write them, put under `/v1`: such a program changes its endpoint and nothing else.

`/openai/deployments/NAME/chat/completions` is `/v1/chat/completions` of the model NAME, whatever its body says, as it
is with Azure; `/openai/responses` and `/openai/v1/responses` are `/v1/responses`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from proxy.bounds import MAX_MODEL_CHARS
from proxy.errors import BadRequest
from proxy.exchange import Exchange

AZURE = "/openai/"

_PATH = re.compile(rb"/openai(?:/v1)?(?:/deployments/(?P<model>[^/]+))?(?P<rest>/.*)")


def put_under_v1(exchange: Exchange, raw: bytes) -> bytes:
    """The target under `/v1`, to be looked at as any other; sets the model where a deployment is named.

    Raises `BadRequest`.
    """
    match = _PATH.fullmatch(raw)
    if match is None:
        return raw
    model = unquote((match["model"] or b"").decode("latin-1"))
    if len(model) > MAX_MODEL_CHARS or not model.isprintable() or "\ufffd" in model:
        raise BadRequest("invalid_value", "The deployment in the path is not the name of a model.", param="model")
    exchange.deployment = exchange.model = model
    return b"/v1" + match["rest"]
