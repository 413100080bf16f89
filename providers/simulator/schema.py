"""JSON values that fit a JSON schema, for the arguments of tool calls and for structured output."""

from __future__ import annotations

import json
from typing import Any

from providers.simulator.text import split, words

DEEPEST = 8
# The values of a schema that refers to itself multiply at each level. A client's schema must not cost that much.
MOST_VALUES = 1000


def tokens_fitting(schema: Any, seed: bytes) -> list[str]:
    """A value that fits the schema, as JSON text in tokens."""
    # `json` writes blanks after `,` and `:`, where tokens begin. msgspec does not.
    return split(json.dumps(Fitting(schema).value(schema, seed), ensure_ascii=False))


class Fitting:
    """Supports the schemas that SDKs generate from types. Constraints such as `pattern` or `minimum` are ignored."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.left = MOST_VALUES

    def value(self, schema: Any, seed: bytes, depth: int = 0) -> Any:
        self.left -= 1
        if not isinstance(schema, dict) or depth > DEEPEST or self.left < 0:
            return None
        if isinstance(ref := schema.get("$ref"), str):
            return self.value(resolved(ref, self.root), seed, depth + 1)
        for name in ("anyOf", "oneOf", "allOf"):
            if isinstance(options := schema.get(name), list) and options:
                return self.value(options[0], seed, depth + 1)
        if isinstance(values := schema.get("enum"), list) and values:
            return values[0]
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type")
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "string":
                return "".join(words(seed, 2))
            case "integer":
                return seed[0]
            case "number":
                return seed[0] + 0.5
            case "boolean":
                return True
            case "array":
                return [self.value(schema.get("items"), seed, depth + 1)]
            case "object" if isinstance(properties := schema.get("properties", {}), dict):
                return {
                    name: self.value(part, name.encode() + seed, depth + 1)
                    for name, part in properties.items()
                    if self.left > 0
                }
        return None


def resolved(ref: str, root: Any) -> Any:
    """The part of the schema that a reference within it names; None if there is none."""
    part = root
    for name in ref.removeprefix("#").strip("/").split("/"):
        part = part.get(name) if isinstance(part, dict) and name else part
    return part
