"""Paths of Azure OpenAI, mapped to paths under `/v1`, so that a client of Azure only has to change its endpoint.

`/openai/deployments/NAME/chat/completions` becomes `/v1/chat/completions` with the model NAME. The model in the body is
ignored, as it is on Azure. `/openai/responses` and `/openai/v1/responses` become `/v1/responses`.
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
    """The target mapped to `/v1`; it still has to be checked like any other. A deployment in it sets the model.

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
