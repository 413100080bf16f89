"""Query strings of which every parameter is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django_filters.rest_framework import DjangoFilterBackend
from django_filters.utils import translate_validation
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.filters import SearchFilter
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.settings import api_settings

from strict.members import check_members
from strict.names import unknown

Parameters = tuple[str, ...] | type[Any]
"""Names, or the serializer that reads them."""


class StrictView:
    """A mix-in for views, before DRF's own class.

    A view that takes parameters besides the filters of its list names them in `query`. One that reads no body says so
    in `bodiless`; every DELETE is one.
    """

    query: ClassVar[Mapping[str, Parameters]] = {}
    """By action, or by method where the view has no actions."""

    bodiless: ClassVar[frozenset[str]] = frozenset()
    """Actions, or methods."""

    seeking: ClassVar[tuple[str, ...]] = ()
    """Actions or methods that look for what a parameter names, and are 404 where it is not there."""

    is_question: ClassVar[bool] = False
    """Whether it changes nothing, whatever its method."""

    def initial(self: Any, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        # OPTIONS asks for nothing, and what there is no method for is 405: a view's `query` is not the method QUERY.
        method = (request.method or "").lower()
        if method in self.http_method_names and method != "options" and hasattr(self, method):
            action = getattr(self, "action", None) or _method(request)
            self.check_query(request, action)
            if request.method == "DELETE" or action in self.bodiless:
                check_no_body(request)

    def check_query(self: Any, request: Request, action: str) -> None:
        """Raises `ValidationError`."""
        names = self.parameters(action)
        query = request.query_params
        problems = {name: [unknown(name, names, "parameter")] for name in query if name not in names}
        problems |= {name: ["It stands twice."] for name, values in query.lists() if name in names and len(values) > 1}
        if problems:
            raise ValidationError(problems)

    def parameters(self: Any, action: str) -> list[str]:
        names = [api_settings.URL_FORMAT_OVERRIDE]
        declared = self.query.get(action, ())
        names += declared if isinstance(declared, tuple) else list(declared().fields)
        if action != "list" or declared:
            return names
        for backend in self.filter_backends:
            if issubclass(backend, DjangoFilterBackend) and getattr(self, "filterset_class", None):
                names += self.filterset_class.base_filters
            elif issubclass(backend, SearchFilter) and getattr(self, "search_fields", None):
                names.append(backend.search_param)
        pages = self.paginator
        return names if pages is None else [*names, pages.page_size_query_param, pages.cursor_query_param]


def _method(request: Request) -> str:
    method = (request.method or "").lower()
    return "get" if method == "head" else method


def check_no_body(request: Request) -> None:
    """Raises `ValidationError`, `ParseError`."""
    if not request.META.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" not in request.META:
        return
    body = request.data
    if isinstance(body, Mapping):
        check_members(body, ())
    elif body:
        raise ParseError("No body is taken here.")


class StrictNegotiation(DefaultContentNegotiation):
    """DRF's, which takes the name of a format that it does not have for an address that is not there."""

    def filter_renderers(self, renderers: Any, format: str) -> Any:  # noqa: A002
        if matches := [renderer for renderer in renderers if renderer.format == format]:
            return matches
        formats = ", ".join(sorted({str(renderer.format) for renderer in renderers}))
        raise ValidationError({api_settings.URL_FORMAT_OVERRIDE: [f"There is no such format. There are: {formats}."]})


class StrictFilters(DjangoFilterBackend):  # type: ignore[misc]
    """django-filter's, which takes a filter whose value it does not understand for none, and lists everything."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        filterset = self.get_filterset(request, queryset, view)
        if filterset is None:
            return queryset
        if not filterset.is_valid():
            raise translate_validation(filterset.errors)
        understood = filterset.form.cleaned_data
        ignored = [name for name in request.query_params if name in understood and understood[name] in (None, "")]
        if ignored:
            raise ValidationError({name: ["This is no value of it; leave it out for all."] for name in ignored})
        return filterset.qs
