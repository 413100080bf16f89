"""Bodies of the management API."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class StorableJSONParser(JSONParser):
    """JSON of which every value can be stored in every database.

    DRF's parser lets through what breaks later, inside the database: NUL and lone surrogates, which PostgreSQL's JSON
    refuses, numbers that are infinite as floats; and it does not expect nesting deeper than the stack. Of a member that
    stands twice it drops the first one.
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
        value.encode()  # half of a surrogate pair is a ValueError here
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
