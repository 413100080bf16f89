"""Turns exceptions into answers of the management API, in its one shape. DRF finds this by `EXCEPTION_HANDLER`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, RequestDataTooBig, ValidationError
from django.db import DatabaseError, IntegrityError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

from keys.models import AlreadyRevoked, Unmintable, VirtualKey
from keys.signup import EmailTaken
from shown.words import counted
from strict.errors import ErrorDocument, error_document, in_words

logger = logging.getLogger(__name__)

DUPLICATES = ("unique", "duplicate_name", "duplicate_alias", "duplicate_price")
FIELDS_OF_DUPLICATES = {
    "duplicate_name": ["name"],
    "duplicate_alias": ["alias"],
    "duplicate_price": ["provider", "model", "valid_from"],
}


class Conflict(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"
    default_detail = "Another change got in between; read it again and repeat yours."

    def __init__(self, detail: str | None = None, code: str | None = None, *, fields: Iterable[str] = ()) -> None:
        """`fields`: those whose values exist already."""
        super().__init__(detail, code)
        self.fields = tuple(fields)


class BodyTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "payload_too_large"
    default_detail = "The body is too large."


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler, extended to Sluice's exceptions.

    None: an unexpected error, which `handler500` answers.
    """
    error = as_api_exception(error)
    response = exception_handler(error, context)
    if response is not None and isinstance(error, exceptions.APIException):
        response.data = document_of(error)
        # JSON, even if the client wants a page or a file from the view.
        request = context["request"]
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    return response


def document_of(error: exceptions.APIException) -> ErrorDocument:
    detail = error.detail
    if isinstance(detail, str):
        fields = getattr(error, "fields", ())
        return error_document(str(detail), str(detail.code), {name: [str(detail)] for name in fields})
    problems = list(_problems(detail))
    by_field: dict[str, list[str]] = {}
    for name, problem in problems:
        if name:
            by_field.setdefault(name, []).append(problem)
    return error_document(in_words(problems), str(error.default_code), by_field)


def _problems(detail: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each problem that DRF found in a body, with its member: `members.0` is the first item of a list."""
    if isinstance(detail, Mapping):
        for member, inner in detail.items():
            is_own = member == api_settings.NON_FIELD_ERRORS_KEY
            yield from _problems(inner, name if is_own else f"{name}.{member}" if name else str(member))
    elif isinstance(detail, list):
        for place, inner in enumerate(detail):
            yield from _problems(inner, name if isinstance(inner, str) else f"{name}.{place}" if name else str(place))
    else:
        yield name, str(detail)


def as_api_exception(error: Exception) -> Exception:
    match error:
        case ValidationError():
            return _invalid(error)
        case Unmintable():
            return exceptions.PermissionDenied(str(error), code="project_inactive")
        case AlreadyRevoked():
            return Conflict(str(error), code="key_revoked")
        case EmailTaken():
            return Conflict(str(error), code="duplicate_email", fields=["email"])
        case ProtectedError():
            return _in_use(error)
        case RequestDataTooBig():
            return BodyTooLarge()
        case Http404():
            return exceptions.NotFound()  # Django's text would name a class
        case DatabaseError() if is_collision(error):
            # The check before found nothing, but the database refused: another transaction was faster.
            logger.warning("A change collided with another one", exc_info=error)
            return Conflict()
    return error


CIRCLES = frozenset({"40001", "40P01"})
"""PostgreSQL's codes for transactions that exclude each other: a serialization failure, a deadlock."""


def is_collision(error: DatabaseError) -> bool:
    """Whether another change caused the error.

    Django raises a plain `DatabaseError` for a row that was deleted meanwhile.
    """
    is_circle = getattr(error.__cause__, "sqlstate", None) in CIRCLES
    return isinstance(error, IntegrityError) or type(error) is DatabaseError or is_circle


def _invalid(error: ValidationError) -> exceptions.APIException:
    """400 with the errors by field; 409 if the only problem is that such a row exists."""
    by_field = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    pairs = [(field, problem) for field, problems in by_field.items() for problem in problems]
    if all(problem.code in DUPLICATES for _, problem in pairs):
        field, problem = pairs[0]
        code = f"duplicate_{field}" if problem.code == "unique" else str(problem.code)
        return Conflict(problem.messages[0], code=code, fields=FIELDS_OF_DUPLICATES.get(code, [field]))
    messages = {field: ValidationError(problems).messages for field, problems in by_field.items()}
    if NON_FIELD_ERRORS in messages:
        messages[api_settings.NON_FIELD_ERRORS_KEY] = messages.pop(NON_FIELD_ERRORS)
    return exceptions.ValidationError(messages)


def _in_use(error: ProtectedError) -> Conflict:
    users = list(error.protected_objects)
    numbers = Counter((str(user._meta.verbose_name), str(user._meta.verbose_name_plural)) for user in users)
    numbers_text = " and ".join(counted(number, one, many) for (one, many), number in sorted(numbers.items()))
    belong = "belongs" if len(users) == 1 else "belong"
    also = ", revoked ones counted" if any(isinstance(user, VirtualKey) for user in users) else ""
    return Conflict(f"It is still in use: {numbers_text} {belong} to it{also}.", code="in_use")
