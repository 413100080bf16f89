"""`/embeddings`: unit vectors, computed from the SHA-256 of model and input."""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from hashlib import sha256
from typing import Any

import msgspec

from providers.simulator.counting import words_in
from providers.simulator.delivery import Plain
from providers.simulator.refusals import RefusedError, counted, member
from providers.simulator.reply import Ask

DIMENSIONS = 64
MOST_INPUTS = 2048
# A bound for one request: inside the process its computation blocks the event loop.
MOST_NUMBERS = 500_000
WORDS_OF_DIGEST = struct.Struct(">8I")


def respond(ask: Ask) -> Plain:
    """A list of embeddings, in the order of the inputs. Raises `RefusedError`."""
    inputs = inputs_of(ask)
    size = counted(ask.body, "dimensions", DIMENSIONS, 1, 4096) or DIMENSIONS
    form = member(ask.body, "encoding_format", str, "float")
    if form not in ("float", "base64"):
        raise RefusedError("'encoding_format' is float or base64.", param="encoding_format", code="invalid_value")
    if len(inputs) * size > MOST_NUMBERS:
        raise RefusedError(f"At most {MOST_NUMBERS} numbers in one answer.", param="input", code="invalid_value")
    vectors = [packed(ask.model, each, size) for each in inputs]
    data: dict[str, Any] = {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": b64encode(vector).decode() if form == "base64" else struct.unpack(f"<{size}f", vector),
            }
            for index, vector in enumerate(vectors)
        ],
        "model": ask.model,
    }
    if ask.settings.usage != "none":
        tokens = words_in(inputs)
        data["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Plain(msgspec.json.encode(data), len(vectors))


def inputs_of(ask: Ask) -> list[str | list[int]]:
    """The inputs as a list. A request has one text, one list of tokens, or a list of these. Raises `RefusedError`."""
    value = member(ask.body, "input", (str, list))
    inputs = [value] if isinstance(value, str) or (value and isinstance(value[0], int)) else value
    if not inputs or len(inputs) > MOST_INPUTS or not all(map(is_input, inputs)):
        raise RefusedError(
            f"'input' must be a text or a list of tokens, not empty, or a list of at most {MOST_INPUTS} of them.",
            param="input",
            code="invalid_value",
        )
    return list(inputs)


def is_input(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(type(each) is int for each in value)
    return isinstance(value, str) and bool(value)


def packed(model: str, value: str | list[int], size: int) -> bytes:
    """A unit vector as little-endian float32. Base64 encodes these bytes, and `float` returns the same numbers."""
    seed = sha256(msgspec.json.encode([model, value])).digest()
    numbers: list[float] = []
    for block in range(-(-size // 8)):
        digest = sha256(seed + block.to_bytes(4, "big")).digest()
        numbers += [number / 2**31 - 1 for number in WORDS_OF_DIGEST.unpack(digest)]
    del numbers[size:]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return struct.pack(f"<{size}f", *(number / length for number in numbers))
