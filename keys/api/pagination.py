"""Pages of the management API. They use cursors, so the last page of a big table takes as long as the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError as Unfit
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports this module, by DRF's settings

MAX_PAGE_SIZE = 500


class NewestFirst(CursorPagination):
    """Newest first: the primary keys of all tables grow with time."""

    page_size = 50
    max_page_size = MAX_PAGE_SIZE
    page_size_query_param = "page_size"
    page_size_query_description = f"Rows in an answer, up to {MAX_PAGE_SIZE}."
    ordering: str | tuple[str, ...] = "-pk"

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> Any:
        name = (self.ordering if isinstance(self.ordering, str) else self.ordering[0]).lstrip("-")
        meta = queryset.model._meta
        self.key_field = meta.pk if name == "pk" else meta.get_field(name)
        return super().paginate_queryset(queryset, request, view)

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("page_size", str(self.page_size))
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
            raise ValidationError({"page_size": [f"Write a number from 1 to {MAX_PAGE_SIZE}."]})
        return min(int(text), MAX_PAGE_SIZE)

    def get_paginated_response_schema(self, schema: Any) -> Any:
        document = super().get_paginated_response_schema(schema)
        return {**document, "required": ["next", "previous", "results"]}

    def decode_cursor(self, request: Request) -> Any:
        text = request.query_params.get(self.cursor_query_param, "")
        if not text:
            return None
        try:
            cursor = super().decode_cursor(request)
            position = None if cursor is None else cursor.position
            if position is not None:
                # DRF passes a position that does not fit the column to the database.
                if "\0" in str(position):
                    raise ValueError
                self.key_field.to_python(position)
        except (NotFound, ValueError, Unfit):
            raise ValidationError({"cursor": ["This is not a cursor; take it from `next` or `previous`."]}) from None
        return cursor
