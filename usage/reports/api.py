"""`GET /api/usage`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.viewsets import GenericViewSet

from strict.resource import Resource
from usage.reports.answer import ReportSerializer, csv_columns, csv_lines, render_lines, render_sums
from usage.reports.cursors import cursor_of
from usage.reports.question import Question, QuestionSerializer, question_from
from usage.reports.sources import Source
from usage.reports.sums import Line, fill_gaps, page, totals, whole
from usage.rollups.state import HourRollup

LINES_AT_ONCE = 10_000
"""Lines of a file that are read at once. They are in memory for each client that downloads one."""


class CSVRenderer(BaseRenderer):
    """Chosen by `format=csv` or `Accept: text/csv`. The view itself writes the file, page by page."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return JSONRenderer().render(data)


class UsageViewSet(Resource, ListModelMixin, GenericViewSet[Any]):
    """Usage by any of key, user, team, project, provider and model, and by hour, day, week, month or in total.

    It can be grouped by tag instead: a request counts for each of its tags, and once in the totals. Users see what was
    used with their own keys.
    """

    noun = "report"
    queryset = HourRollup.objects.all()
    serializer_class = ReportSerializer
    renderer_classes = (JSONRenderer, CSVRenderer)
    pagination_class = None
    query: ClassVar = {"list": QuestionSerializer}
    owner_field = "user_id"
    owner_actions = ("list",)

    @extend_schema(
        parameters=[QuestionSerializer],
        responses={(200, "application/json"): ReportSerializer, (200, "text/csv"): str},
        filters=False,
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        question = question_from(request.query_params.dict())
        is_file = isinstance(request.accepted_renderer, CSVRenderer)
        source = Source(question, self.filter_queryset)
        if is_file:
            return as_file(request, csv_pages(source))
        sums = totals(source)
        lines, last = (fill_gaps(whole(source), question), None) if question.fill else page(source)
        following = None
        if last is not None:
            here = request.build_absolute_uri()
            following = replace_query_param(here, "cursor", cursor_of(last.at, last.group))
        return Response(
            {
                "from": question.start.astimezone(question.zone).isoformat(),
                "to": question.end.astimezone(question.zone).isoformat(),
                "period": question.period,
                "time_zone": question.zone.key,
                "group_by": question.group_by,
                "totals": render_sums(sums),
                "next": following,
                "previous": None,
                "results": render_lines(lines, question),
            }
        )


def as_file(request: Request, pieces: Iterator[str]) -> StreamingHttpResponse:
    """Return all pages as a file that is sent while they are read."""
    first = next(pieces)  # raises errors before the file begins
    content: Any = [first, *pieces] if not isinstance(request._request, ASGIRequest) else _in_threads(first, pieces)
    answer = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="usage.csv"'
    answer["Vary"] = "Accept, Cookie"
    return answer


def csv_pages(source: Source) -> Iterator[str]:
    if source.question.fill:
        yield as_csv(fill_gaps(whole(source), source.question), source.question)
        return
    question = source.question._replace(page_size=LINES_AT_ONCE)
    is_first = True
    while True:
        lines, last = page(source._replace(question=question))
        yield as_csv(lines, question, head=is_first)
        if last is None:
            return
        question, is_first = question._replace(after=[last.at, *last.group]), False


def as_csv(lines: Sequence[Line], question: Question, *, head: bool = True) -> str:
    return csv_lines(csv_columns(question.group_by), render_lines(lines, question), head=head)


async def _in_threads(first: str, pieces: Iterator[str]) -> AsyncIterator[str]:
    """Read the pages in threads, not on the event loop. No database connection is held while the client reads."""
    piece: str | None = first
    read = database_sync_to_async(lambda: next(pieces, None))
    while piece is not None:
        yield piece
        piece = await read()
