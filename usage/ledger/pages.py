"""Pages of the ledger in the management API. They look like those of all lists, but none takes long.

A page that would take long is cut short: it has fewer rows than asked for, maybe none, and its `next` goes on from
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import prefetch_related_objects
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.settings import api_settings

from usage.ledger.walk import walk

if TYPE_CHECKING:
    from rest_framework.views import APIView

    Pages = CursorPagination
else:
    Pages = api_settings.DEFAULT_PAGINATION_CLASS  # by the setting, because it is in another app


class LedgerPages(Pages):
    """A cursor consists of the id after which a page begins, and a direction. Raises `walk.Slow`."""

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        self.key_field = queryset.model._meta.pk
        self.request = request
        self.base_url = request.build_absolute_uri()
        size: int = self.get_page_size(request)  # type: ignore[assignment]
        cursor: Any = self.decode_cursor(request)
        start, back = (cursor.position, not cursor.reverse) if cursor else (None, True)
        result = walk(queryset.prefetch_related(None), size + 1, start=start, back=back)
        page = result.rows[:size]
        prefetch_related_objects(page, *queryset._prefetch_related_lookups)
        ahead: str | None = page[-1].pk if len(result.rows) > size else result.edge
        behind: str | None = page[0].pk if page and start else start
        self._older, self._newer = (ahead, behind) if back else (behind, ahead)
        return page if back else page[::-1]

    def get_next_link(self) -> str | None:
        return self._link(self._older, reverse=False)

    def get_previous_link(self) -> str | None:
        return self._link(self._newer, reverse=True)

    def _link(self, beyond: str | None, *, reverse: bool) -> str | None:
        return None if beyond is None else self.encode_cursor(Cursor(0, reverse, beyond))  # type: ignore[arg-type]
