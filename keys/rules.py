"""A project's rules for requests. They are compiled once for each change of the project, and do no I/O.

RuleBroken
├── MethodRefused    405  the method is not on the list
├── PathRefused      404  no glob of the list matches the path
├── OriginRefused    403  the page's origin is not on the list
├── HeaderMissing    400  a header is missing or has another value
├── ParamRefused     400  a member of the body has a value that is not on its list
└── ParamUnreadable  400  the body cannot be read, so its members cannot be checked
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

GLOB = frozenset("*?[")
_decoder = msgspec.json.Decoder()


class RuleBroken(Exception):
    """A request that its project does not allow. `code` can be a metric's label; the text is for people."""

    code = ""
    param: str | None = None


class MethodRefused(RuleBroken):
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"This project does not allow the method {method[:16]}; it allows {self.allowed}.")


class PathRefused(RuleBroken):
    code = "path_not_allowed"

    def __init__(self, path: str, allowed: Iterable[str]) -> None:
        super().__init__(f"This project does not allow the path {path[:200]}; it allows {', '.join(allowed)}.")


class OriginRefused(RuleBroken):
    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"This project does not allow requests from pages of the origin {origin[:200]!r}.")


class HeaderMissing(RuleBroken):
    code = "header_required"

    def __init__(self, name: str, allowed: Values | None) -> None:
        with_value = f" with one of the values {allowed}" if allowed is not None else ""
        super().__init__(f"This project requires the header {name}{with_value}.")


class ParamRefused(RuleBroken):
    code = "param_not_allowed"

    def __init__(self, field: str, allowed: Values) -> None:
        self.param = field
        super().__init__(f"This project does not allow this value of the parameter {field!r}. Allowed: {allowed}.")


class ParamUnreadable(RuleBroken):
    code = "param_not_readable"

    def __init__(self) -> None:
        super().__init__(
            "This project allows only some values of parameters, so the gateway must be able to read them: send a JSON "
            "object that names no member twice, of at most MAX_PAYLOAD_BYTES, or a plain multipart form."
        )


class Values:
    """Allowed values: exact ones of any JSON type, and globs for texts. Every item of a list must be allowed."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.listed = list(values)
        texts = [value for value in self.listed if isinstance(value, str)]
        self.globs = tuple(text for text in texts if not GLOB.isdisjoint(text))
        self.texts = frozenset(texts).difference(self.globs)
        self.others = [value for value in self.listed if not isinstance(value, str)]

    def __str__(self) -> str:
        return ", ".join(json.dumps(value, ensure_ascii=False) for value in self.listed)

    def allow(self, value: Any) -> bool:
        if isinstance(value, str):
            return value in self.texts or any(fnmatchcase(value, glob) for glob in self.globs)
        if any(same(value, other) for other in self.others):
            return True
        return isinstance(value, list) and all(self.allow(item) for item in value)

    def allow_text(self, text: str) -> bool:
        """Whether a form's value is allowed.

        It has no type, so it is compared as text and as the JSON that it spells.
        """
        if self.allow(text):
            return True
        try:
            return not isinstance(value := _decoder.decode(text.encode()), str) and self.allow(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False


class Origins:
    """Origins of pages, exact or by glob: `https://*.example.org`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._values = Values(patterns)

    def allow(self, origin: str) -> bool:
        return self._values.allow(origin)


class Rules:
    """What one project allows. A rule that is empty allows everything."""

    __slots__ = ("_dotted", "_folded", "_headers", "_methods", "_params", "_paths", "origins")

    def __init__(
        self,
        *,
        params: Mapping[str, list[Any]],
        origins: list[str],
        headers: Mapping[str, list[str]],
        methods: list[str],
        paths: list[str],
    ) -> None:
        self._params = {name: Values(values) for name, values in params.items() if "." not in name}
        self._dotted: dict[str, list[tuple[tuple[str, ...], str, Values]]] = {}
        for name, values in params.items():
            top, *rest = name.split(".")
            if rest:
                self._dotted.setdefault(top, []).append((tuple(rest), name, Values(values)))
        self._folded = {name.casefold() for name in (*self._params, *self._dotted)}
        self.origins = Origins(origins) if origins else None
        self._headers = [
            (name.lower().encode(), name, Values(values) if values else None) for name, values in headers.items()
        ]
        self._methods = frozenset(methods)
        self._paths = tuple(paths)

    @property
    def reads_params(self) -> bool:
        return bool(self._folded)

    @property
    def listed_params(self) -> dict[str, list[Any]]:
        """The allowed values as they were written. A child process makes its own rules of them."""
        below = {name: values for each in self._dotted.values() for _, name, values in each}
        return {name: values.listed for name, values in (self._params | below).items()}

    def refusal_of(self, field: str) -> ParamRefused:
        below = {name: values for each in self._dotted.values() for _, name, values in each}
        return ParamRefused(field, (self._params | below)[field])

    @property
    def form_fields(self) -> frozenset[str]:
        """The names of a form's fields that have a rule."""
        return frozenset(self._params)

    def check_head(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises `MethodRefused`, `PathRefused`, `OriginRefused`, `HeaderMissing`.

        Rules for origins do not apply to a request without an Origin, because it comes from a program, not from a page.
        """
        if self._methods and method not in self._methods:
            raise MethodRefused(method, self._methods)
        if self._paths and not any(fnmatchcase(path, glob) for glob in self._paths):
            raise PathRefused(path, self._paths)
        if self.origins is None and not self._headers:
            return
        values_by_name: dict[bytes, list[str]] = {}
        for name, value in headers:
            values_by_name.setdefault(name, []).append(value.decode("latin-1").strip())
        for origin in values_by_name.get(b"origin", ()) if self.origins is not None else ():
            if self.origins is not None and not self.origins.allow(origin):
                raise OriginRefused(origin)
        for name, written, allowed in self._headers:
            values = values_by_name.get(name)
            if not values or (allowed is not None and not all(allowed.allow(value) for value in values)):
                raise HeaderMissing(written, allowed)

    def check_params(self, members: Mapping[str, msgspec.Raw], values: Mapping[str, Any]) -> None:
        """Check the top level of a JSON object. `values` has members whose values were read already.

        Raises `ParamRefused`, `ParamUnreadable`. A member that is missing or null is not checked: the provider's
        default applies. A name that differs only in case is refused, because some servers ignore the case of names.
        """
        for name, raw in members.items():
            if name not in self._params and name not in self._dotted:
                if name.casefold() in self._folded:
                    raise ParamUnreadable
                continue
            value = values[name] if name in values else value_of(raw)
            if value is None:
                continue
            try:
                self._check_member(name, value)
            except RecursionError:
                raise ParamUnreadable from None

    def _check_member(self, name: str, value: Any) -> None:
        allowed = self._params.get(name)
        if allowed is not None and not allowed.allow(value):
            raise ParamRefused(name, allowed)
        for path, field, values in self._dotted.get(name, ()):
            check_below(value, path, field, values)

    def check_form_field(self, name: str, text: str) -> None:
        """Raises `ParamRefused`."""
        allowed = self._params.get(name)
        if allowed is not None and not allowed.allow_text(text):
            raise ParamRefused(name, allowed)


def check_below(value: Any, path: tuple[str, ...], field: str, allowed: Values) -> None:
    """Follow a dotted name through objects, and through every item of lists.

    Raises `ParamRefused`, `ParamUnreadable`.
    """
    if isinstance(value, list):
        for item in value:
            check_below(item, path, field, allowed)
    elif isinstance(value, dict):
        folded = path[0].casefold()
        if any(name != path[0] and name.casefold() == folded for name in value):
            raise ParamUnreadable
        member = value.get(path[0])
        if member is None:
            return
        if len(path) > 1:
            check_below(member, path[1:], field, allowed)
        elif not allowed.allow(member):
            raise ParamRefused(field, allowed)


def value_of(raw: msgspec.Raw) -> Any:
    """A member's value. Raises `ParamUnreadable`, also if an object in it names a member twice."""
    text = bytes(raw)
    try:
        return json.loads(text, object_pairs_hook=unambiguous)
    except (ValueError, RecursionError):
        raise ParamUnreadable from None


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def same(value: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, and true is not 1."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(same, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(same(value[name], other[name]) for name in value)
    return bool(value == other)
