"""Write a report as the API's JSON and as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from shown.money import machine
from usage.prices.price import usd
from usage.reports.names import names_of
from usage.reports.question import BY_NUMBER, Question
from usage.reports.sums import Line

COUNTS = (
    *("requests", "errors", "refused", "cache_hits"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
)
NUMBERS = (
    *COUNTS,
    "cost_usd",
    "unpriced_requests",
    "average_duration_ms",
    "average_ttft_ms",
    "saved_tokens",
    "saved_usd",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet runs a cell that begins with one of these. Clients choose the names of models, so cells are escaped."""


class Renamed(serializers.Serializer[Any]):
    """Renames `since` to `from` and `until` to `to`: `from` is a Python keyword and cannot be declared as a field."""

    def get_fields(self) -> dict[str, Any]:
        names = {"since": "from", "until": "to"}
        return {names.get(name, name): field for name, field in super().get_fields().items()}


class SumsSerializer(Renamed):
    """Sums of requests."""

    requests = serializers.IntegerField(help_text="Of every outcome.")
    errors = serializers.IntegerField(  # type: ignore[assignment]
        help_text="That ended with an error of the provider or of Sluice."
    )
    refused = serializers.IntegerField(help_text="That Sluice refused.")
    cache_hits = serializers.IntegerField(help_text="That no provider was asked for.")
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField(help_text="Of the prompt's.")
    reasoning_tokens = serializers.IntegerField(help_text="Of the completion's.")
    cost_usd = serializers.DecimalField(max_digits=31, decimal_places=12)
    unpriced_requests = serializers.IntegerField(help_text="Whose cost is not known, and not in `cost_usd`.")
    average_duration_ms = serializers.FloatField(allow_null=True)
    average_ttft_ms = serializers.FloatField(allow_null=True, help_text="Of those whose answer began.")
    saved_tokens = serializers.IntegerField(help_text="Of answers of the cache: what providers counted for them once.")
    saved_usd = serializers.DecimalField(max_digits=31, decimal_places=12, help_text="What they would have cost.")


class LineSerializer(SumsSerializer):
    """A line has the members that the report is grouped by. A name is null if its key, user, team or project was
    deleted."""

    since = serializers.DateTimeField(help_text="When the hour, day, week or month begins.")
    key = serializers.IntegerField(required=False, allow_null=True)
    key_name = serializers.CharField(required=False, allow_null=True)
    user = serializers.IntegerField(required=False, allow_null=True)
    user_name = serializers.CharField(required=False, allow_null=True)
    team = serializers.IntegerField(required=False, allow_null=True)
    team_name = serializers.CharField(required=False, allow_null=True)
    project = serializers.IntegerField(required=False, allow_null=True)
    project_name = serializers.CharField(required=False, allow_null=True)
    provider = serializers.CharField(required=False, allow_blank=True)
    model = serializers.CharField(required=False, allow_blank=True)
    tag = serializers.CharField(required=False, allow_blank=True, help_text="Blank: requests without a tag.")


@extend_schema_serializer(many=False)
class ReportSerializer(Renamed):
    """The usage from `from` up to, but not including, `to`."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    period = serializers.CharField()
    time_zone = serializers.CharField()
    group_by = serializers.ListField(child=serializers.CharField())
    totals = serializers.SerializerMethodField(help_text="Of all pages.")
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null.")
    results = LineSerializer(many=True)

    @extend_schema_field(SumsSerializer)
    def get_totals(self, report: Any) -> Any:
        return report["totals"]


def render_lines(lines: Sequence[Line], question: Question) -> list[dict[str, Any]]:
    """Return the lines as the API shows them. Names are read from the database, with one query for each noun."""
    names: dict[str, dict[int, str]] = {}
    for place, noun in enumerate(question.group_by):
        if noun in BY_NUMBER:
            names[noun] = names_of(noun, (line.group[place] for line in lines))
    rows = []
    for line in lines:
        row: dict[str, Any] = {"from": line.at.astimezone(question.zone).isoformat()}
        for noun, value in zip(question.group_by, line.group, strict=True):
            row[noun] = (value or None) if noun in BY_NUMBER else value
            if noun in names:
                row[f"{noun}_name"] = names[noun].get(value)
        rows.append({**row, **render_sums(line.sums)})
    return rows


def render_sums(sums: dict[str, int]) -> dict[str, Any]:
    return {
        **{name: sums[name] for name in COUNTS},
        "cost_usd": machine(usd(sums["cost_picousd"])),
        "unpriced_requests": sums["unpriced"],
        "average_duration_ms": _average(sums["duration_us"], sums["requests"]),
        "average_ttft_ms": _average(sums["ttft_us"], sums["ttft_requests"]),
        "saved_tokens": sums["saved_tokens"],
        "saved_usd": machine(usd(sums["saved_picousd"])),
    }


def csv_columns(group_by: Sequence[str]) -> list[str]:
    nouns = [name for noun in group_by for name in ((noun, f"{noun}_name") if noun in BY_NUMBER else (noun,))]
    return ["from", *nouns, *NUMBERS]


def csv_lines(columns: Sequence[str], rows: Iterable[dict[str, Any]], *, head: bool) -> str:
    """Return rows of the API as CSV. A cell that a spreadsheet would run gets an apostrophe in front."""
    written: list[str] = []

    class Lines:
        def write(self, text: str) -> None:
            written.append(text)

    writer = csv.writer(Lines())
    if head:
        writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return "".join(written)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _average(total_us: int, count: int) -> float | None:
    return round(total_us / count / 1000, 3) if count else None
