"""The columns of a project's rules, and their validators."""

from __future__ import annotations

import json
import re
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from keys.rules import Rules

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
RULES = ("allowed_params", "allowed_origins", "required_headers", "allowed_methods", "allowed_paths")
"""The names of the rules: as columns, in the API and in `--rules`."""

MOST = 200
"""The most entries of one rule. Each request is compared with them."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_ORIGIN = re.compile(r"(?:[a-z][a-z0-9+.-]*|\*)://[^\s/?#@]+|\*|null")
CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization"})


def validate_params(value: Any) -> None:
    """An object from a member's name to the list of its allowed values or globs. Names of nested members have dots."""
    if not isinstance(value, dict):
        raise ValidationError('Write an object such as {"model": ["gpt-4.1-*"], "temperature": [0, 0.5]}.')
    check_number(value)
    for name, allowed in value.items():
        if not all(name.split(".")) or not name.isprintable():
            raise ValidationError(f"{name!r} is not a parameter's name; write model, or response_format.type.")
        if not isinstance(allowed, list) or not allowed:
            raise ValidationError(f"Write a list of at least one allowed value for {name!r}, or leave it out.")
        if None in allowed:
            raise ValidationError(
                f"{name!r}: null stands for the provider's default and is always allowed; leave it out."
            )
        check_list(allowed, repr(name))
        parts = name.split(".")
        for length in range(1, len(parts)):
            if (above := ".".join(parts[:length])) in value:
                raise ValidationError(f"{above!r} and {name!r} contradict each other; write a rule for one of them.")
    folded = [name.casefold() for name in value]
    if len(set(folded)) != len(folded):
        raise ValidationError("Two parameters differ in upper and lower case alone.")


def validate_origins(value: Any) -> None:
    """A list of origins or globs of them."""
    if not isinstance(value, list) or not all(isinstance(item, str) and _ORIGIN.fullmatch(item) for item in value):
        raise ValidationError(
            'Write a list of origins without path, lower-case scheme first: ["https://app.example.org", "https://*.example.org"].'
        )
    check_list(value, "the origins")
    if "*" in value and len(value) > 1:
        raise ValidationError('"*" allows every origin; leave the others out, or "*".')


def validate_headers(value: Any) -> None:
    """An object from a header's name to its allowed values or globs; an empty list: any value."""
    if not isinstance(value, dict):
        raise ValidationError('Write an object such as {"X-Team": ["red", "blue"], "X-Trace": []}.')
    check_number(value)
    for name, allowed in value.items():
        if not _TOKEN.fullmatch(name):
            raise ValidationError(f"{name!r} is not a header's name.")
        if name.lower() in CREDENTIALS:
            raise ValidationError(f"{name} carries a credential, which no rule may speak of.")
        if not isinstance(allowed, list) or not all(isinstance(item, str) and item for item in allowed):
            raise ValidationError(f"Write a list of texts for {name!r}; an empty one allows any value.")
        check_list(allowed, repr(name))
    if len({name.lower() for name in value}) != len(value):
        raise ValidationError("A header stands twice, in upper and lower case.")


def validate_methods(value: Any) -> None:
    if not isinstance(value, list) or not all(item in METHODS for item in value):
        raise ValidationError(f"Write a list of {', '.join(METHODS)}.")
    check_list(value, "the methods")


def validate_paths(value: Any) -> None:
    """A list of paths or globs below /v1/."""
    if not isinstance(value, list) or not all(
        isinstance(item, str) and item.startswith("/v1/") and item.isprintable() and " " not in item for item in value
    ):
        raise ValidationError('Write a list of paths or globs under /v1/, such as ["/v1/chat/*", "/v1/models"].')
    check_list(value, "the paths")


def check_number(value: Any) -> None:
    if len(value) > MOST:
        raise ValidationError(f"That is more than {MOST} entries.")


def check_list(values: list[Any], name: str) -> None:
    check_number(values)
    written = [json.dumps(value, sort_keys=True) for value in values]
    if len(set(written)) != len(written):
        raise ValidationError(f"A value stands twice for {name}.")


class Ruled(models.Model):
    """The columns of a project's rules. Empty ones allow everything."""

    allowed_params = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_params],
        help_text='Of the body: {"model": ["gpt-4.1-*"], "response_format.type": ["json_object"]}. Others: any value.',
    )
    allowed_origins = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_origins],
        help_text='Of pages in browsers: ["https://app.example.org"]. Empty: no page may read answers.',
    )
    required_headers = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_headers],
        help_text='{"X-Team": ["red", "blue"], "X-Trace": []}; an empty list allows any value.',
    )
    allowed_methods = models.JSONField(
        default=list, blank=True, validators=[validate_methods], help_text='["POST"]. Empty: every method.'
    )
    allowed_paths = models.JSONField(
        default=list, blank=True, validators=[validate_paths], help_text='["/v1/chat/*"]. Empty: every path.'
    )

    class Meta:
        abstract = True

    def compiled_rules(self) -> Rules | None:
        """None if the project has no rules: then requests are not checked."""
        members = (
            self.allowed_params,
            self.allowed_origins,
            self.required_headers,
            self.allowed_methods,
            self.allowed_paths,
        )
        if not any(members):
            return None
        params, origins, headers, methods, paths = members
        return Rules(params=params, origins=origins, headers=headers, methods=methods, paths=paths)
