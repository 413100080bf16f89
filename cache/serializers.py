"""Stored answers and purges in the management API."""

from __future__ import annotations

import json
import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cache.entry import Entry, unpacked
from cache.frames import body_of
from cache.models import CachedResponse, CachePurge
from cache.ports import OBJECT_OF
from shown.bodies import readable
from strict.members import Strict

MOST_SHOWN_BYTES = 1024 * 1024
KEY = re.compile(r"([0-9a-f]{64})[ps]?")


class CachedResponseSerializer(serializers.ModelSerializer[CachedResponse]):
    id = serializers.CharField(source="name", read_only=True, help_text="The cache key, and p (plain) or s (stream).")
    cache_key = serializers.CharField(read_only=True, help_text="As `X-Cache-Key` of answers.")
    project = serializers.IntegerField(
        source="project_id", allow_null=True, read_only=True, help_text="Whose request the provider answered."
    )
    endpoint = serializers.CharField(source="path", read_only=True)
    provider = serializers.IntegerField(source="provider_id", read_only=True, help_text="The id of who made it.")
    model_served = serializers.CharField(source="served_model", read_only=True)

    class Meta:
        model = CachedResponse
        fields: tuple[str, ...] = (
            "id",
            "cache_key",
            "created_at",
            "expires_at",
            "project",
            "endpoint",
            "model",
            "provider",
            "model_served",
            "stream",
            "request_id",
            "response_id",
            "size",
            "hit_count",
            "last_hit_at",
        )


class StoredAnswerSerializer(serializers.Serializer[Any]):
    status_code = serializers.IntegerField()
    headers = serializers.DictField(child=serializers.CharField(), help_text="Those that are stored.")
    encoding = serializers.ChoiceField(choices=["utf-8", "base64"], help_text="How `body` is told.")
    body = serializers.CharField(help_text="Up to a mebibyte.")
    is_cut = serializers.BooleanField(help_text="Whether there is more of it.")
    final = serializers.JSONField(
        allow_null=True,
        help_text="What the answer amounts to, as an object. Null: it is no JSON, compressed, or longer than that.",
    )
    usage = serializers.JSONField(allow_null=True, help_text="What the provider counted. Null: it did not say.")


class CachedAnswerSerializer(CachedResponseSerializer):
    answer = serializers.SerializerMethodField(help_text="Null: another version of Sluice wrote it.")

    class Meta(CachedResponseSerializer.Meta):
        fields = (*CachedResponseSerializer.Meta.fields, "answer")

    @extend_schema_field(StoredAnswerSerializer(allow_null=True))
    def get_answer(self, row: CachedResponse) -> dict[str, Any] | None:
        entry = entry_of(row)
        if entry is None:
            return None
        body = body_of(entry)
        is_cut = len(body) > MOST_SHOWN_BYTES
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in entry.headers}
        shown = readable(body[:MOST_SHOWN_BYTES], is_cut=is_cut)
        final = None if is_cut else final_of(entry, row.path)
        usage = final.get("usage") if isinstance(final, dict) else None
        told = {"status_code": entry.status, "headers": headers, **shown, "is_cut": is_cut}
        return {**told, "final": final, "usage": usage}


class FrameSerializer(serializers.Serializer[Any]):
    ordinal = serializers.IntegerField(help_text="From 1.")
    at_s = serializers.FloatField(help_text="When it was complete, in seconds since the answer's head.")
    event = serializers.CharField(help_text="Blank: it has no name.")
    data = serializers.CharField()  # type: ignore[assignment]


class FramesSerializer(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null.")
    results = FrameSerializer(many=True)


class FramesQuery(serializers.Serializer[Any]):
    after = serializers.IntegerField(default=0, min_value=0, max_value=2**31, help_text="The ordinal of the last one.")
    page_size = serializers.IntegerField(default=100, min_value=1, max_value=500)


class PurgeSerializer(Strict, serializers.Serializer[Any]):
    """What is purged: that to which all members apply."""

    cache_key = serializers.RegexField(
        KEY, required=False, help_text="A cache key, as `X-Cache-Key`, or the id of a stored answer. Both its forms go."
    )
    project = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    path = serializers.CharField(required=False, max_length=64, help_text="The beginning of the endpoint's path.")
    model = serializers.CharField(required=False, max_length=255, help_text="The beginning of the model's name.")
    all = serializers.BooleanField(required=False, help_text="True: everything. Then nothing else may be said.")

    def validate(self, said: dict[str, Any]) -> dict[str, Any]:
        narrows = {name: value for name, value in said.items() if name != "all"}
        if said.get("all") and narrows:
            raise serializers.ValidationError({"all": ["Everything is purged with this; leave out the rest, or it."]})
        if not said.get("all") and not narrows:
            text = 'Say what is purged: `cache_key`, `project`, `path` or `model`; or {"all": true} for everything.'
            raise serializers.ValidationError(text)
        return narrows


class CachePurgeSerializer(serializers.ModelSerializer[CachePurge]):
    project = serializers.IntegerField(source="project_id", allow_null=True, read_only=True)

    class Meta:
        model = CachePurge
        fields: tuple[str, ...] = ("id", "created_at", "cache_key", "project", "path", "model")


class PurgedSerializer(CachePurgeSerializer):
    entries = serializers.IntegerField(help_text="How many stored answers it concerned in the database.")

    class Meta(CachePurgeSerializer.Meta):
        fields = (*CachePurgeSerializer.Meta.fields, "entries")


class CacheTotalsSerializer(serializers.Serializer[Any]):
    entries = serializers.IntegerField()
    bytes = serializers.IntegerField()
    hits = serializers.IntegerField(help_text="Of the answers that are stored now.")
    oldest_at = serializers.DateTimeField(allow_null=True)
    newest_at = serializers.DateTimeField(allow_null=True)


class CacheOfProjectSerializer(CacheTotalsSerializer):
    project = serializers.IntegerField(allow_null=True)


class CacheSerializer(CacheTotalsSerializer):
    """Stored answers in the database. Those in the memory of processes and in Redis are these, or newer."""

    most_bytes = serializers.IntegerField(help_text="HTTP_CACHE_STORE_BYTES.")
    is_stored = serializers.BooleanField(help_text="HTTP_CACHE_STORE: false: the database has no answers.")
    projects = CacheOfProjectSerializer(many=True, help_text="Those with the most bytes, up to 100.")
    purges = CachePurgeSerializer(many=True, help_text="The latest ones, up to 20.")


def entry_of(row: CachedResponse) -> Entry | None:
    return unpacked(bytes(row.packed))


def final_of(entry: Entry, path: str) -> Any:
    text = OBJECT_OF()(entry, path)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
