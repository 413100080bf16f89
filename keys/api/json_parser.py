"""The JSON parser of the management API."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class StorableJSONParser(JSONParser):
    """JSON whose values every database can store.

    DRF's parser accepts what fails later in the database: NUL and lone surrogates, which PostgreSQL's JSON refuses, and
    numbers that are infinite as floats. It does not expect nesting deeper than the stack. If a member stands twice, it
    drops the first one.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            value = json.loads(stream.read().decode(), parse_constant=_refuse_constant, object_pairs_hook=_unambiguous)
            _check(value)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deep.") from None
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from None
        return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the member {json.dumps(name)} stands twice")
        members[name] = value
    return members


def _check(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text holds a NUL character")
        value.encode()  # a lone surrogate raises ValueError
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is too large")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name)
            _check(item)
    elif isinstance(value, list):
        for item in value:
            _check(item)
